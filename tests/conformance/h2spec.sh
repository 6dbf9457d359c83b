#!/usr/bin/env bash
# h2spec against our server, without TLS and with it: h2spec.sh bun|deno|node. Further arguments go to h2spec, such as
# `http2/6.9` or `-v`. It ends with a line `N passed, N failed`; a case that h2spec skips has failed.
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/conformance/tools.sh

choose_runtime "${1:-}"
needs has_h2spec "h2spec: GOBIN=\$PWD/.tools go install $h2spec_module/cmd/h2spec@$h2spec_version"
needs "command -v openssl" "openssl: apt-get install openssl" >/dev/null
end_if_missing
shift

folder=$(mktemp -d)
server=
clean_up() {
  [ -z "$server" ] || kill "$server" 2>/dev/null
  rm -rf "$folder"
}
trap clean_up EXIT

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost \
  -keyout "$folder/key.pem" -out "$folder/cert.pem" 2>"$folder/openssl.log" || { cat "$folder/openssl.log" >&2; exit 1; }

passed=0
failed=0

# Runs h2spec against a server that gets the arguments up to `--`; h2spec gets the rest.
spec() {
  local server_args=() port total
  while [ "$1" != -- ]; do
    server_args+=("$1")
    shift
  done
  shift
  : >"$folder/port"
  "${run[@]}" tests/conformance/h2specServer.ts "${server_args[@]}" >"$folder/port" &
  server=$!
  for _ in $(seq 200); do
    port=$(cat "$folder/port")
    [ -n "$port" ] && break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  "$h2spec" --host 127.0.0.1 --port "${port:-0}" --timeout 5 "$@" | tee "$folder/log"
  kill "$server" 2>/dev/null
  wait "$server" 2>/dev/null
  server=
  total=$(sed -n 's/^\([0-9]* tests, [0-9]* passed, [0-9]* skipped, [0-9]* failed\)$/\1/p' "$folder/log")
  if [ -z "$total" ]; then
    failed=$((failed + 1))
    return
  fi
  read -r _ _ ok _ skipped _ wrong _ <<<"$total"
  passed=$((passed + ok))
  failed=$((failed + skipped + wrong))
}

spec -- "$@"
spec "$folder/key.pem" "$folder/cert.pem" -- --tls --insecure "$@"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
