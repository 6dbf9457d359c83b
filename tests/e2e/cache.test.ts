import assert from "node:assert/strict"
import { Effect } from "effect"
import { connect } from "../../src/transport/channel.ts"
import * as Client from "../../src/transport/client.ts"
import { Cache } from "../../src/transport/gen/cache_pb.ts"
import { test } from "../effect.ts"
import { cacheAt, ok, watchPrints } from "./cacheCommand.ts"
import { basel, served } from "./command.ts"

test("every command of the cache explains itself, with an example", () =>
  Effect.forEach(
    [[], ["get"], ["set"], ["del"], ["incr"], ["scan"], ["watch"]],
    (command) =>
      Effect.map(basel(["cache", ...command, "--help"]), ({ code, stdout }) => {
        assert.equal(code, 0)
        assert.match(stdout, /EXAMPLES\n.*#/s)
      }),
    { discard: true },
  ))

test("what set writes, get prints as it is, and del deletes", () =>
  Effect.gen(function* () {
    const cache = cacheAt(yield* served("--cache", "memory"))
    const { stdout: version } = yield* cache(["set", "greeting", "hello"])
    assert.match(version, /^\d+\n$/)
    assert.deepEqual(yield* cache(["get", "greeting"]), ok("hello"))
    const json = yield* cache(["get", "greeting", "--json"])
    assert.deepEqual(JSON.parse(json.stdout), { key: "greeting", value: "aGVsbG8=", version: version.trim() })
    assert.match((yield* cache(["set", "piped", "-"], "line 1\nline 2\n")).stdout, /^\d+\n$/)
    assert.deepEqual(yield* cache(["get", "piped"]), ok("line 1\nline 2\n"))
    assert.deepEqual(yield* cache(["del", "piped"]), ok("deleted\n"))
    assert.deepEqual(yield* cache(["del", "piped", "--json"]), ok('{"key":"piped","deleted":false}\n'))
    const gone = yield* cache(["get", "piped"])
    assert.deepEqual([gone.code, gone.stdout], [1, ""])
    assert.match(gone.stderr, /^not_found: /)
  }))

test("set obeys one condition, and incr adds", () =>
  Effect.gen(function* () {
    const cache = cacheAt(yield* served("--cache", "memory"))
    const refused = (args: ReadonlyArray<string>) =>
      Effect.map(cache(args), ({ code, stdout, stderr }) => [code, stdout, stderr.split(":", 1)[0]])
    assert.deepEqual(yield* refused(["set", "a", "1", "--if-present"]), [1, "", "not_found"])
    const { stdout } = yield* cache(["set", "a", "1", "--if-absent", "--ttl", "1h"])
    assert.deepEqual(yield* refused(["set", "a", "2", "--if-absent"]), [1, "", "already_exists"])
    assert.equal((yield* cache(["set", "a", "2", "--if-version", stdout.trim()])).code, 0)
    assert.deepEqual(yield* refused(["set", "a", "3", "--if-version", stdout.trim()]), [1, "", "aborted"])
    assert.equal((yield* refused(["set", "a", "3", "--if-absent", "--if-present"]))[0], 2)
    assert.equal((yield* refused(["set", "a", "3", "--if-version", "x"]))[0], 2)
    assert.deepEqual(yield* cache(["incr", "a"]), ok("3\n"))
    assert.deepEqual(yield* cache(["incr", "a", "--by=-5", "--json"]), ok('{"key":"a","value":"-2"}\n'))
  }))

test("scan prints a key a line, none of which a terminal would obey", () =>
  Effect.gen(function* () {
    const server = yield* served("--cache", "memory")
    const cache = cacheAt(server)
    const { set } = Client.make(Cache, yield* connect(server.url))
    for (const key of ["a 1", "a \u001b[31m", "a\nb", "a\u009b", "a\u202e", '"a"', "\u00e4"]) yield* set({ key })
    const lines = (text: string) => text.trimEnd().split("\n").toSorted()
    assert.deepEqual(
      lines((yield* cache(["scan"])).stdout),
      ['"\\"a\\""', '"a \\u001b[31m"', '"a\\nb"', '"a\\u009b"', '"a\\u202e"', "a 1", "\u00e4"].toSorted(),
    )
    assert.deepEqual(lines((yield* cache(["scan", "a "])).stdout), ['"a \\u001b[31m"', "a 1"])
    const json = lines((yield* cache(["scan", "a\n", "--json"])).stdout)
    assert.deepEqual(
      json.map((line) => JSON.parse(line)),
      [{ key: "a\nb" }],
    )
  }))

test("watch prints changes as they come", () => watchPrints("memory"))

test("serve keeps what it answers, so that no call takes the program's time twice", () =>
  Effect.gen(function* () {
    const { url } = yield* served("--cache", "memory", "--delay", "1s", "--cache-ttl", "1h")
    // A hundred times that would be more than the test has.
    const { code, stdout } = yield* basel(["calc", ...Array.from({ length: 100 }, () => "3"), "--address", url])
    assert.deepEqual([code, new Set(stdout.trim().split("\n")).size], [0, 1])
    assert.deepEqual(yield* cacheAt({ url })(["scan"]), ok(""), "those who write to the cache don't reach the answers")
  }))

test("serve refuses a cache that it doesn't know, and says what there is", () =>
  Effect.gen(function* () {
    const { code, stderr } = yield* basel(["serve", "--port", "0", "--cache", "disk"])
    assert.equal(code, 2)
    assert.match(stderr, /"memory", or the address of a Redis/)
  }))
