/**
 * The generated code of the suite's own protos. It is committed, since types are checked before anything is set up.
 */
import { Effect } from "effect"
import { lines, shell } from "./processes.ts"
import { test } from "./support.ts"

// As it is made anew where a proto has changed.
const generate = "buf generate tests/interop/proto -o"

test(`the code in gen is what \`${generate} tests/interop/gen\` makes`, () =>
  Effect.gen(function* () {
    const compare = `new=$(mktemp -d) && ${generate} "$new" && diff -r "$new" tests/interop/gen; code=$?; rm -rf "$new"; exit $code`
    lines(yield* shell(compare))
  }))
