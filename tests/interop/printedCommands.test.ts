/**
 * The commands that our server prints when it starts, as a newcomer runs them: copied into a shell.
 */
import assert from "node:assert/strict"
import { Effect } from "effect"
import { assertNear, numbersOf, pi, upTo } from "./numbers.ts"
import { lines, type Server, shell } from "./processes.ts"
import { served } from "./programs.ts"
import { test } from "./support.ts"

/** The command line that the server printed for a tool. */
const printed = ({ said }: Server, tool: string): Effect.Effect<string> =>
  Effect.map(said(new RegExp(`^ {2}(${tool} .*)\\n`, "m")), ([, line = ""]) => line)

/** Runs a command line, which must succeed with pi(999) as JSON; gives what it prints after it. */
const pi999 = Effect.fnUntraced(function* (line: string) {
  const [, value, rest] = /^\{\s*"value":\s*([\d.]+)\s*\}\s*(.*)$/.exec(lines(yield* shell(line)).join("\n")) ?? []
  assertNear(Number(value), pi(999))
  return rest
})

test("the printed grpcurl command gets the answer", () =>
  Effect.gen(function* () {
    yield* pi999(yield* printed(yield* served(), "grpcurl"))
  }))

test("the printed curl command gets the answer, by HTTP/1.1 and by HTTP/2", () =>
  Effect.gen(function* () {
    const command = yield* printed(yield* served(), "curl")
    yield* pi999(command)
    const version = "-w '\\n%{http_version}\\n'"
    assert.equal(yield* pi999(`${command} ${version}`), "1.1")
    assert.equal(yield* pi999(`${command} ${version} --http2-prior-knowledge`), "2")
  }))

test("the printed calc command gets the answers", () =>
  Effect.gen(function* () {
    const command = yield* printed(yield* served(), "bun")
    assert.deepEqual(numbersOf(lines(yield* shell(command))), upTo(10))
  }))

test("the printed grpcurl command of the streaming edition is answered about half of the time", () =>
  Effect.gen(function* () {
    const command = yield* printed(yield* served(["--streaming"]), "grpcurl")
    const answers = (output: string) =>
      Array.from(output.matchAll(/"n": 999,\s*"value": ([\d.]+)/g), ([, value]) => assertNear(Number(value), pi(999)))
    const once = answers(lines(yield* shell(command)).join("\n"))
    assert.ok(once.length <= 1)
    const often = answers(lines(yield* shell(command.replace('{"n":999}', '{"n":999}'.repeat(999)))).join("\n"))
    assert.ok(often.length > 350 && often.length < 650, `${often.length} of 999 answered`)
  }))

test("grpcurl shows an error with its details", () =>
  Effect.gen(function* () {
    const command = yield* printed(yield* served(), "grpcurl")
    const { code, stderr } = yield* shell(
      command.replace("999", "0").replace("-proto", "-proto google/rpc/error_details.proto -proto"),
    )
    assert.notEqual(code, 0)
    assert.match(stderr, /Code: InvalidArgument\n\s*Message: request number should be positive\n/)
    assert.match(stderr, /"@type": "type.googleapis.com\/google.rpc.BadRequest"/)
    assert.match(stderr, /"field": "n"/)
  }))
