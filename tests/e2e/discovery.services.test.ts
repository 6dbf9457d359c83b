import assert from "node:assert/strict"
import { describe } from "node:test"
import { Deferred, Effect, Fiber, Stream } from "effect"
import { test } from "../effect.ts"
import { contents, etcdServer } from "../transport/etcd/server.ts"
import { dial } from "../transport/support.ts"
import { openCall } from "./calls.ts"
import { basel, certificates, file, running, served, servedByWorkers } from "./command.ts"

const pi3 = "pi(1) = 2.82842712474619\npi(2) = 2.9814239699997196\npi(3) = 3.0346151137976114\n"

const hostOf = (url: string) => new URL(url).host

/** `basel serve`, registered in an etcd. */
const registered = Effect.fnUntraced(function* (etcd: string, ...args: ReadonlyArray<string>) {
  const server = yield* served("--etcd", etcd, ...args)
  yield* Effect.promise(() => server.said(/ is registered as /))
  return { ...server, host: hostOf(server.url) }
})

describe("serve --etcd", () => {
  test("is found by its name by calls of all kinds, and by discover, until it ends", () =>
    Effect.gen(function* () {
      const { host, url } = yield* etcdServer()
      const [first, second] = yield* Effect.all([registered(`http://${host}`), registered(`http://${host}`)], {
        concurrency: 2,
      })
      const found = [first.host, second.host].sort()
      const pi = `${url}/pi`
      assert.deepEqual(yield* basel(["discover", pi]), { code: 0, stdout: `${found.join("\n")}\n`, stderr: "" })
      assert.deepEqual(yield* basel(["calc", "1..3", "--discover", pi]), { code: 0, stdout: pi3, stderr: "" })
      assert.equal((yield* basel(["range", "1..3", "--discover", pi])).stdout, pi3)
      assert.match((yield* basel(["summarize", "1..3", "--discover", pi])).stdout, /3/)
      assert.equal((yield* basel(["report", "hello", "--discover", pi])).code, 0)
      assert.equal((yield* basel(["stream", "1..3", "--discover", pi])).code, 0)
      first.signal("SIGTERM")
      const { code, stderr } = yield* Effect.promise(() => first.finished)
      assert.deepEqual([code, stderr], [0, ""])
      const [left = ""] = found.filter((one) => one !== first.host)
      assert.equal((yield* basel(["discover", pi, "--json"])).stdout, `${JSON.stringify({ address: left })}\n`)
    }))

  test("discover says that nobody is registered, with exit code 1", () =>
    Effect.gen(function* () {
      const { url } = yield* etcdServer()
      const { code, stdout, stderr } = yield* basel(["discover", `${url}/pi`])
      assert.deepEqual([code, stdout], [1, ""])
      assert.match(stderr, /^no server is registered in etcd:\S+\/pi: check the service's name/)
    }))

  test("puts workers in once, as the one server that they are, and takes them out before they drain", () =>
    Effect.gen(function* () {
      const { host, url } = yield* etcdServer()
      const server = yield* servedByWorkers(2, "--etcd", host, "--grace", "1m")
      yield* Effect.promise(() => server.said(/ is registered as /))
      const watch = yield* running(file("src/main.ts", "discover", "--watch", `${url}/pi`))
      yield* Effect.promise(() => watch.said(new RegExp(`^\\+ ${hostOf(server.url)}\n`)))
      const { call, finish } = yield* openCall(server.url)
      server.signal("SIGTERM")
      yield* Effect.promise(() => watch.said(new RegExp(`- ${hostOf(server.url)}\n`)))
      yield* finish
      assert.equal((yield* Fiber.await(call))._tag, "Success")
      const { code, stdout } = yield* Effect.promise(() => server.finished)
      assert.equal(code, 0)
      assert.equal(stdout.match(/ is registered as /g)?.length, 1)
    }))

  test("takes the server out before it drains, and discover --watch says so", () =>
    Effect.gen(function* () {
      const { host, url } = yield* etcdServer()
      const stays = yield* registered(host)
      // It isn't the end of its lease that is told.
      const leaves = yield* registered(host, "--lease", "10m")
      const watch = yield* running(file("src/main.ts", "discover", "--watch", `${url}/pi`))
      const said = (pattern: RegExp) => Effect.promise(() => watch.said(pattern))
      yield* said(new RegExp(`\\+ ${leaves.host}\n`))
      // A call that it can't end, since nobody takes its answers yet.
      const [begun, goOn] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const client = yield* dial(leaves)
      const taken = { points: 0 }
      const call = yield* client.calcRange({ first: 1, last: 100_000 }).pipe(
        Stream.runForEach(() => {
          if (++taken.points > 1) return Effect.void
          return Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(goOn))
        }),
        Effect.forkChild,
      )
      yield* Deferred.await(begun)
      leaves.signal("SIGTERM")
      yield* said(new RegExp(`- ${leaves.host}\n`))
      yield* Deferred.succeed(goOn, undefined)
      yield* Fiber.join(call)
      assert.equal(taken.points, 100_000)
      assert.equal((yield* Effect.promise(() => leaves.finished)).code, 0)
      yield* registered(host, "--advertise", "pi.example.org:80")
      yield* said(/\+ pi\.example\.org:80\n/)
      watch.signal("SIGINT")
      const { stdout } = yield* Effect.promise(() => watch.finished)
      const lines = stdout.trimEnd().split("\n")
      assert.deepEqual(lines.slice(0, 2).sort(), [`+ ${leaves.host}`, `+ ${stays.host}`].sort())
      assert.deepEqual(lines.slice(2), [`- ${leaves.host}`, "+ pi.example.org:80"])
    }))

  test("with TLS is found by who trusts it", () =>
    Effect.gen(function* () {
      const { host, url } = yield* etcdServer()
      yield* registered(host, `--cert=${certificates}/server.pem`, `--key=${certificates}/server.key`)
      const call = ["calc", "1..3", "--discover", `${url}/pi`, "--attempts", "1"]
      const trusting = yield* basel([...call, "--ca", `${certificates}/ca.pem`])
      assert.deepEqual(trusting, { code: 0, stdout: pi3, stderr: "" })
      assert.equal((yield* basel(call)).code, 1)
    }))

  test("registers under the name, the address and for the time that it is told", () =>
    Effect.gen(function* () {
      const member = yield* etcdServer()
      const other = ["--name", "other", "--advertise", "[::1]:8080", "--host", "0.0.0.0", "--lease", "60s"]
      yield* registered(`etcd://${member.host},${member.host}/`, ...other)
      assert.deepEqual([...(yield* contents(member)).keys()], ["other/[::1]:8080"])
      assert.equal((yield* basel(["discover", `${member.url}/other`])).stdout, "[::1]:8080\n")
      assert.equal((yield* basel(["discover", `${member.url}/pi`])).code, 1)
    }))

  test("serves while etcd is away, registers when it comes, and ends at once when it has gone again", () =>
    Effect.gen(function* () {
      const member = yield* etcdServer()
      yield* member.kill
      const server = yield* served("--etcd", member.host, "--lease", "2s")
      yield* Effect.promise(() => server.said(/can't be registered as pi, and this is tried until it works: /))
      assert.equal((yield* basel(["calc", "1..3", "--address", server.url])).stdout, pi3)
      yield* member.start
      yield* Effect.promise(() => server.said(/ is registered as pi/))
      assert.equal((yield* basel(["calc", "1..3", "--discover", `${member.url}/pi`])).stdout, pi3)
      yield* member.kill
      server.signal("SIGTERM")
      const { code, stdout } = yield* Effect.promise(() => server.finished)
      assert.equal(code, 0)
      assert.match(stdout, /could not be taken out of pi, and is out when its lease ends/)
    }))
})

describe("--discover", () => {
  // How many of 500 calls the server with fewer gets. The first of ring-hash may go to who is connected first.
  for (const [policy, fewest, most] of [
    ["round-robin", 200, 250],
    ["least-request", 0, 250],
    ["pick-first", 0, 0],
    ["ring-hash", 0, 100],
  ] as const)
    test(`--balance ${policy} spreads calls over two servers as it says`, () =>
      Effect.gen(function* () {
        const servers = yield* Effect.all([served("--log"), served("--log")], { concurrency: 2 })
        const list = `static:${servers.map(({ url }) => hostOf(url)).join()}`
        const hash = policy === "ring-hash" ? ["--hash-key", "X-User", "-H", "x-user: ada"] : []
        const args = ["calc", "1..500", "--discover", list, "--balance", policy, ...hash]
        const { code, stdout, stderr } = yield* basel(args)
        assert.deepEqual([code, stdout.split("\n").length, stderr], [0, 501, ""])
        const counts: Array<number> = []
        for (const server of servers) {
          server.signal("SIGTERM")
          const { stdout: log } = yield* Effect.promise(() => server.finished)
          counts.push(log.match(/pi\.PiCalculator\/Calc\b.*ok/g)?.length ?? 0)
        }
        const [fewer = 0, more = 0] = counts.sort((one, other) => one - other)
        assert.equal(fewer + more, 500)
        assert.ok(fewer >= fewest && fewer <= most, `${fewer} of 500`)
      }))

  test("says what is wrong where nobody is there, and whom it looked for", () =>
    Effect.gen(function* () {
      const { url } = yield* etcdServer()
      const nobody = yield* basel(["calc", "1", "--discover", `${url.replace("//", "//ada:secret@")}/pi`])
      assert.equal(nobody.code, 1)
      const wrong = yield* basel(["calc", "1", "--discover", `${url}/pi`])
      assert.equal(wrong.code, 1)
      assert.match(wrong.stderr, /^unavailable: no endpoint of "pi" is known/)
      assert.match(wrong.stderr, /looked for servers in etcd:.*: "\w+ .*src\/main\.ts discover URL" shows who is there/)
      assert.ok(!nobody.stderr.includes("secret"), nobody.stderr)
      const gone = yield* basel(["calc", "1", "--discover", "static:127.0.0.1:1"])
      assert.match(gone.stderr, /^unavailable: cannot connect to http:\/\/127\.0\.0\.1:1: nothing listens there/)
    }))
})

test("flags of discovery that contradict each other are wrong usage, and the message says what is right", () =>
  Effect.gen(function* () {
    const etcd = ["--etcd", "http://127.0.0.1:2379"]
    const wrong: ReadonlyArray<readonly [ReadonlyArray<string>, RegExp]> = [
      [["serve", "--name", "pi"], /^--name needs --etcd/],
      [["serve", "--lease", "5s"], /^--lease needs --etcd/],
      [["serve", "--host", "0.0.0.0", ...etcd], /^--etcd needs --advertise host:port where --host is "0\.0\.0\.0"/],
      [["serve", "--host", "::", ...etcd], /^--etcd needs --advertise host:port where --host is "::"/],
      [["serve", "--etcd", "ftp://127.0.0.1"], /Expected a URL of etcd, such as http:/],
      [["serve", "--etcd", "http://one,https://two"], /Expected a URL of etcd/],
      [["serve", "--etcd", "one,https://two"], /Expected a URL of etcd/],
      [["serve", "--etcd", "http://one/pi"], /Expected a URL of etcd/],
      [["serve", "--etcd", "http://one two"], /has a host that isn't one/],
      [["serve", ...etcd, "--advertise", "pi.example.org"], /Expected host:port, not "pi\.example\.org"/],
      [["serve", ...etcd, "--lease", "0s"], /Expected a duration above zero/],
      [["calc", "1", "--discover", "static:a:1", "--address", "http://b:1"], /^--discover and --address both say/],
      [["calc", "1", "--balance", "round-robin"], /^--balance needs --discover/],
      [["calc", "1", "--discover", "static:a:1", "--balance", "ring-hash"], /^--balance ring-hash needs --hash-key/],
      [["calc", "1", "--discover", "static:a:1", "--hash-key", "x-user"], /^--hash-key needs --balance ring-hash/],
      [["calc", "1", "--discover", "pi"], /names no registry: give a URL that begins with etcd:/],
      [["discover", "etcd://127.0.0.1:2379"], /names no service/],
      [["discover"], /url/],
    ]
    for (const [args, message] of wrong) {
      const { code, stdout, stderr } = yield* basel(args)
      assert.deepEqual([code, stdout], [2, ""], args.join(" "))
      assert.match(stderr, message)
    }
  }))
