#!/usr/bin/env bash
# Gets what the conformance suites need and isn't there yet: Connect's runner, h2spec, and the code generated from the
# runner's protos.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/conformance/tools.sh

need() { command -v "$1" >/dev/null || { echo "$1 is missing: $2" >&2; exit 1; }; }
need go "version 1.26 or later, https://go.dev/dl"
need openssl "apt-get install openssl"
need buf "npm install"

has_runner || GOBIN="$PWD/.tools" go install "$runner_module/cmd/connectconformance@$runner_version"
has_h2spec || GOBIN="$PWD/.tools" go install "$h2spec_module/cmd/h2spec@$h2spec_version"

# The protos are others' and stay in the module that the runner was built from.
if ! has_generated; then
  protos=$(go mod download -json "$runner_module@$runner_version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')/proto
  rm -rf tests/conformance/gen
  node_modules/.bin/buf generate "$protos" --template tests/conformance/buf.gen.yaml
  echo "$runner_version" >tests/conformance/gen/version
fi
