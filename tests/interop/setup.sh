#!/usr/bin/env bash
# Gets what the interop suite needs and isn't there yet: Python's packages in a venv, and grpcurl.
set -euo pipefail
cd "$(dirname "$0")/../.."

# The same commands as tools.ts names.
venv=tests/interop/.venv
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/interop/requirements.txt

command -v grpcurl >/dev/null || [ -x .tools/grpcurl ] ||
  GOBIN="$PWD/.tools" go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3

command -v curl >/dev/null || { echo "curl is missing: apt-get install curl" >&2; exit 1; }
