# What the conformance suites run besides this project, sourced by their scripts from the repository's top. Without it
# they end at once, for a test that is skipped says nothing.

runner_module=connectrpc.com/conformance
runner_version=v1.0.7
h2spec_module=github.com/summerwind/h2spec
h2spec_version=v2.2.1+incompatible

runner=.tools/connectconformance
h2spec=.tools/h2spec
export PATH="$PWD/node_modules/.bin:$PATH"
# Node would otherwise strip the types of all files anew for each server, and be late with its answer.
export NODE_COMPILE_CACHE="$PWD/node_modules/.cache/node"

has_runner() { [ "$("$runner" --version 2>/dev/null)" = "connectconformance $runner_version" ]; }
has_h2spec() { [ -x "$h2spec" ]; }
has_generated() { [ "$(cat tests/conformance/gen/version 2>/dev/null)" = "$runner_version" ]; }

missing=()
# Says what is missing if the check that comes first fails.
needs() {
  local check=$1
  shift
  $check || missing+=("$*")
}

# Ends the script if anything is missing.
end_if_missing() {
  [ ${#missing[@]} -eq 0 ] && return
  {
    echo "This suite can't run. What is missing:"
    printf '  %s\n' "${missing[@]}"
    echo "All at once: npm install && tests/conformance/setup.sh"
  } >&2
  exit 1
}

# Puts the command that runs a program of ours into `run`, and says what it needs.
choose_runtime() {
  case ${1:-} in
    bun)
      run=(bun run)
      needs "command -v bun" "bun: npm install" >/dev/null
      ;;
    deno)
      # The project's own node_modules, and no types checked: tsc does that.
      run=(deno run --allow-all --no-check --quiet)
      needs "command -v deno" "deno: npm install" >/dev/null
      ;;
    node)
      # The machine's own may be too old to run TypeScript.
      run=(node_modules/.bin/node)
      needs "command -v node_modules/.bin/node" "node: npm install" >/dev/null
      ;;
    *)
      echo "which runtime? Give one of bun, deno, node" >&2
      exit 2
      ;;
  esac
}
