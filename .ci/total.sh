# What adds up checks and suites to one total, sourced by run and nightly.

export NPM_CONFIG_LOGLEVEL=error NO_COLOR=1
export PATH="$PWD/node_modules/.bin:$PATH"

passed=0
failed=0

# Runs a check under a name: it passes if the command does.
check() {
  local name=$1
  shift
  echo "== $name"
  if "$@"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "== $name FAILED"
  fi
}

# Runs a suite that ends with a line of its own total, and adds that up.
suite() {
  local name=$1 log total
  shift
  echo "== $name"
  log=$(mktemp)
  "$@" 2>&1 | tee "$log"
  total=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1)
  rm -f "$log"
  if [ -z "$total" ]; then
    failed=$((failed + 1))
    echo "== $name FAILED: it came to no total"
    return
  fi
  passed=$((passed + $(cut -d' ' -f1 <<<"$total")))
  failed=$((failed + $(cut -d' ' -f3 <<<"$total")))
}

# The last line, and the exit code that it means.
end_with_total() {
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ]
}
