/**
 * What the command says: of what others said nothing raw, of what went wrong what to do.
 */
import assert from "node:assert/strict"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { RpcError } from "../../src/core/rpc/error.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { serve } from "../../src/transport/server.ts"
import * as Service from "../../src/transport/service.ts"
import { test } from "../effect.ts"
import { basel, file, root, served, start } from "./command.ts"

const hostile = "\u001b[2J\u0007\r\n\u009b31m\u202e"
const harmless = "\\u001b[2J\\u0007\\r\\n\\u009b31m\\u202e"

/** A server whose every answer is an error with what a terminal would obey. */
const hostileServer = serve(
  Service.partial(PiCalculator, {
    calc: () =>
      Effect.fail(
        new RpcError({
          code: "aborted",
          message: hostile,
          details: [{ type: "google.rpc.ErrorInfo", value: { reason: hostile } }],
          metadata: [["x-bytes-bin", new TextEncoder().encode(hostile)]],
        }),
      ),
  }),
  { port: 0 },
)

test("of what a server says nothing reaches the terminal raw", () =>
  Effect.gen(function* () {
    const { url } = yield* hostileServer
    for (const flags of [[], ["--json"], ["--protocol", "grpc-web", "-v"]]) {
      const { code, stdout, stderr } = yield* basel(["calc", "1", "--address", url, ...flags])
      assert.deepEqual([code, stdout], [1, ""])
      assert.doesNotMatch(stderr.replaceAll("\n", ""), /\p{C}/u, flags.join(" "))
      if (flags.includes("--json")) assert.equal(JSON.parse(stderr).message, hostile)
      else assert.ok(stderr.includes(`aborted: ${harmless}\n`), stderr)
      if (!flags.includes("-v")) assert.ok(stderr.split("\n").length <= 5, "no line is the server's")
    }
  }))

test("of what a client reports nothing reaches the log raw", () =>
  Effect.gen(function* () {
    const { url, said, output } = yield* served("--log")
    yield* basel(["report", hostile, "--address", url])
    yield* Effect.promise(() => said(/\] INFO: report .*\n/))
    assert.doesNotMatch(output().replaceAll("\n", ""), /\p{C}/u)
    assert.match(output(), /report \{"level":"info","text":"\\u001b\[2J\\u0007\\r\\n\\u009b31m\\u202e"/)
  }))

test("no password of a URL is shown", () =>
  Effect.forEach(
    [
      ["serve", "--etcd", "http//ada:hunter2@one"],
      ["serve", "--cache", "reddis://ada:hunter2@one"],
      ["serve", "--cache", "redis://ada:hunter2@one:x"],
      ["calc", "1", "--address", "htp://ada:hunter2@one"],
      ["calc", "1", "--address", "http://ada:hunter2@127.0.0.1:1"],
      ["calc", "1", "--address", "hunter2:x@one"],
      ["calc", "1", "--discover", "etcdx://ada:hunter2@one"],
      ["discover", "etcdx://ada:hunter2@one"],
      ["discover", "etcd://ada:hunter2@one"],
    ],
    (args) =>
      Effect.gen(function* () {
        const { code, stdout, stderr } = yield* basel(args)
        assert.notEqual(code, 0)
        assert.doesNotMatch(stdout + stderr, /hunter2/)
        assert.match(stderr, /@(one|127)/)
      }),
    { concurrency: 3, discard: true },
  ))

test("a number that is none is told by its flag, with what is allowed", () =>
  Effect.gen(function* () {
    for (const [args, expected] of [
      [["serve", "--port", "abc"], '--port: "abc". Expected a port from 0 to 65535'],
      [["serve", "--port", "1.5"], '--port: "1.5". Expected a port from 0 to 65535'],
      [["serve", "--max-connections", "many"], '--max-connections: "many". Expected a number of 1 or more'],
      [["calc", "1", "--concurrency", "x"], '--concurrency: "x". Expected a number from 1 to 10000'],
      [["calc", "1", "--attempts", "0x10"], '--attempts: "0x10". Expected a number from 1 to 100'],
      [["experiment", "--calls", ""], "--calls. Expected a number from 1 to"],
    ] as const) {
      const { code, stderr } = yield* basel(args)
      assert.equal(code, 2)
      assert.ok(stderr.includes(expected), stderr)
    }
  }))

test("under --json each failure is an object on a line of standard error", () =>
  Effect.gen(function* () {
    const { url } = yield* served()
    for (const [args, expected] of [
      [["calc", "0", "--address", url], { exit: 1, code: "invalid_argument", detail: "google.rpc.BadRequest" }],
      [["calc", "x"], { exit: 2, code: "usage" }],
      [["calc", "1", "--cert", "x.pem"], { exit: 2, code: "usage" }],
      [["calc", "1", "--address", "http://127.0.0.1:1"], { exit: 1, code: "unavailable", hint: /start one/ }],
    ] as const) {
      const { code, stdout, stderr } = yield* basel([...args, "--json"])
      assert.deepEqual([code, stdout], [expected.exit, ""])
      const failure = JSON.parse(stderr)
      assert.equal(failure.code, expected.code)
      assert.equal(typeof failure.message, "string")
      if ("detail" in expected) assert.equal(failure.details[0].type, expected.detail)
      if ("hint" in expected) assert.match(failure.hint, expected.hint)
    }
  }))

test("how to start a server is told where nothing listens, and nowhere else", () =>
  Effect.gen(function* () {
    const busy = yield* serve(
      Service.partial(PiCalculator, {
        calc: () => Effect.fail(new RpcError({ code: "unavailable", message: "busy" })),
      }),
      { port: 0 },
    )
    const at = (address: string) => basel(["calc", "1", "--attempts", "1", "--address", address])
    assert.equal((yield* at(busy.url)).stderr, "unavailable: busy\n")
    const nowhere = yield* at("http://nosuch.invalid")
    assert.match(
      nowhere.stderr,
      /no such host name.*\n {2}looked for a server at http:\/\/nosuch\.invalid: say with --address/,
    )
    const [, again = ""] = /start one with "(.*)", or/.exec((yield* at("http://127.0.0.1:1")).stderr) ?? []
    const started = start(`${again} --port 0`)
    yield* Effect.promise(() => started.said(/basel serves/))
    started.signal("SIGTERM")
    assert.equal((yield* Effect.promise(() => started.finished)).code, 0)
  }))

test("on Deno the command asks nobody for a permission that it wasn't given, who would have to answer at the terminal", () =>
  Effect.gen(function* () {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "basel-audit-"))),
      (made) => Effect.sync(() => rmSync(made, { recursive: true })),
    )
    const audit = join(folder, "asked")
    const colours = ["NO_COLOR", "FORCE_COLOR", "TERM"]
    const deno = (args: string, more = "") =>
      start(`env DENO_AUDIT_PERMISSIONS=${audit} deno run --no-prompt --allow-net ${more} src/main.ts ${args}`)
    const server = deno("serve --port 0")
    yield* Effect.promise(() => server.said(/ calc .*\n/))
    server.signal("SIGTERM")
    yield* Effect.promise(() => server.finished)
    // It fails with a hint, which says how this command is started.
    yield* Effect.promise(() => deno("calc 1 --address http://127.0.0.1:1").finished)
    const experiment = deno("experiment --calls 1", `--allow-read=src --allow-env=${colours}`)
    assert.equal((yield* Effect.promise(() => experiment.finished)).code, 0)
    const given = ({ permission, value }: { readonly permission: string; readonly value: string | null }) =>
      permission === "net" ||
      (permission === "env" && value !== null && colours.includes(value)) ||
      (permission === "read" && value?.startsWith(join(root, "src")))
    const asked = readFileSync(audit, "utf8").trim().split("\n")
    assert.deepEqual(
      asked.filter((line) => !given(JSON.parse(line))),
      [],
    )
  }))

test("the last line that a server says to try works as it stands", () =>
  Effect.gen(function* () {
    const { said } = yield* served()
    const [, command = ""] = yield* Effect.promise(() => said(/\n {2}(.* calc 1\.\.10 --address \S+)\n/))
    const { code, stdout } = yield* Effect.promise(() => start(command.replace(/^\w+=\S+ /, "env $&")).finished)
    assert.equal(code, 0)
    assert.match(stdout, /^pi\(1\) = 2\.828/)
  }))

test("--http-version 1.1 calls over HTTP/1.1, and gRPC can't", () =>
  Effect.gen(function* () {
    const { url } = yield* served()
    const call = (protocol: string) =>
      basel(["calc", "1", "--address", url, "--http-version", "1.1", "--protocol", protocol])
    for (const protocol of ["connect", "grpc-web"])
      assert.equal((yield* call(protocol)).stdout, "pi(1) = 2.82842712474619\n")
    const { code, stderr } = yield* call("grpc")
    assert.equal(code, 2)
    assert.match(stderr, /^--http-version 1\.1 needs --protocol connect or grpc-web/)
  }))

test("shells complete files for the flags that name some", () =>
  Effect.gen(function* () {
    const { stdout } = yield* basel(["--completions", "bash"])
    for (const flag of ["--cert", "--key", "--ca", "--client-ca", "--service-config"]) {
      assert.ok(new RegExp(` ${flag}\\)\\n +\\S+--paths -f `).test(stdout), flag)
    }
  }))

test("calc without numbers says on a terminal what it reads", () =>
  Effect.gen(function* () {
    const { url } = yield* served()
    const started = start(`script -qec "${file("src/main.ts", "calc", "--address", url)}" /dev/null`, "1\n\u0004")
    yield* Effect.promise(() => started.said(/reading numbers and ranges from standard input, one a line/))
    yield* Effect.promise(() => started.said(/pi\(1\) = 2\.828/))
    yield* Effect.promise(() => started.finished)
  }))

test("experiment tells each measurement as it has it", () =>
  Effect.gen(function* () {
    const { url } = yield* served()
    const { stderr } = yield* basel(["experiment", "--calls", "3", "--address", url])
    assert.match(stderr, /^(\d+ at a time: \d\.\d{3} s\n){4}$/)
  }))
