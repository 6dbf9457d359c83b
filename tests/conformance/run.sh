#!/usr/bin/env bash
# Connect's conformance suite, all cases: run.sh server|client bun|deno|node. Further arguments go to the runner, such as
# `--run "Basic/**"` or `--trace`. It ends with a line `N passed, N failed`.
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/conformance/tools.sh

mode=${1:-}
case $mode in
  server) known=() ;;
  client) known=(--known-failing @tests/conformance/known-failing-client.txt) ;;
  *) echo "usage: tests/conformance/run.sh server|client bun|deno|node" >&2; exit 2 ;;
esac
choose_runtime "${2:-}"
needs has_runner "the runner: GOBIN=\$PWD/.tools go install $runner_module/cmd/connectconformance@$runner_version"
needs has_generated "the code of the suite's protos: tests/conformance/setup.sh"
end_if_missing
shift 2

log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$runner" --mode "$mode" --conf "tests/conformance/$mode.yaml" "${known[@]}" "$@" -- \
  "${run[@]}" "tests/conformance/$mode.ts" 2>&1 | tee "$log"
status=$?

# The runner counts cases that it could not run apart; here they have failed. So has a run that came to no total.
read -r passed _ failed _ < <(grep -E '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1) || true
lost=$(sed -n 's/^Another \([0-9]*\) could not be run.*/\1/p' "$log" | tail -n 1)
passed=${passed:-0}
failed=$((${failed:-0} + ${lost:-0}))
[ "$status" -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
