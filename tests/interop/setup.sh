#!/usr/bin/env bash
# Gets what the interop suite needs and isn't there yet: Python's packages in a venv, grpcurl, grpc-go's client and
# server, a Node
# that runs TypeScript, and Debian's curl, nghttp2-client and chromium.
set -euo pipefail
cd "$(dirname "$0")/../.."

# The same commands as tools.ts names.
venv=tests/interop/.venv
grpcurl=v1.9.3
grpc_go=v1.85.0
node=26.10.0

on_path() { command -v "$1" >/dev/null; }

packages=()
on_path curl || packages+=(curl)
on_path h2load && on_path nghttp || packages+=(nghttp2-client)
on_path chromium || packages+=(chromium)
if [ ${#packages[@]} -gt 0 ]; then
  if [ "$(id -u)" -ne 0 ] || ! on_path apt-get; then
    echo "missing, and only root can install it: apt-get install --no-install-recommends ${packages[*]}" >&2
    exit 1
  fi
  echo "installing ${packages[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
fi

on_path grpcurl || [ -x .tools/grpcurl ] ||
  GOBIN="$PWD/.tools" go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$grpcurl"

interop=.tools/grpc-go-interop-$grpc_go
for program in client server; do
  [ -x "$interop/$program" ] || GOBIN="$PWD/$interop" go install "google.golang.org/grpc/interop/$program@$grpc_go"
done

[ "$(.tools/node/node_modules/.bin/node --version 2>/dev/null)" = "v$node" ] ||
  npm install --silent --no-audit --no-fund --prefix .tools/node "node@$node"

[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/interop/requirements.txt
