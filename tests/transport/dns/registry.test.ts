import assert from "node:assert/strict"
import { Duration, Effect, Stream } from "effect"
import { dns } from "../../../src/transport/dns/registry.ts"
import { openRegistry } from "../../../src/transport/registry.ts"
import { test } from "../../effect.ts"
import { watching } from "../etcd/watching.ts"
import { type Answer, dnsServer } from "./server.ts"

const served = Effect.fnUntraced(function* (known: Readonly<Record<string, Answer>>) {
  const server = yield* dnsServer(known)
  return { server, registry: dns({ servers: [server.host], every: "20 millis" }) }
})

test("a host has endpoints at each of its addresses, of both kinds, and they follow DNS", () =>
  Effect.gen(function* () {
    const { server, registry } = yield* served({ "pi.test": ["10.0.0.2", "10.0.0.1", "2001:db8:0:0:0:0:0:1"] })
    const { until } = yield* watching(registry, "pi.test:8080")
    assert.equal((yield* until("10.0.0.1:8080", "10.0.0.2:8080", "[2001:db8::1]:8080")).length, 1)
    server.answer("pi.test", ["2001:db8:0:0:0:0:0:2"])
    yield* until("[2001:db8::2]:8080")
    server.answer("pi.test", ["10.0.0.3"])
    yield* until("10.0.0.3:8080")
  }))

test("an answer that has only changed its order isn't told", () =>
  Effect.gen(function* () {
    const { server, registry } = yield* served({ "pi.test": ["10.0.0.1", "10.0.0.2"] })
    const { until } = yield* watching(registry, "pi.test:80")
    yield* until("10.0.0.1:80", "10.0.0.2:80")
    server.answer("pi.test", ["10.0.0.2", "10.0.0.1"])
    yield* server.asked("pi.test")
    yield* server.asked("pi.test")
    server.answer("pi.test", ["10.0.0.1"])
    assert.deepEqual(yield* until("10.0.0.1:80"), [["10.0.0.1:80"]])
  }))

test("a service has the hosts and ports of its SRV records with the lowest priority", () =>
  Effect.gen(function* () {
    const { server, registry } = yield* served({
      "_grpc._tcp.pi.test": [
        { target: "b.pi.test", port: 81, priority: 1 },
        { target: "a.pi.test", port: 82, priority: 1 },
        { target: "spare.pi.test", port: 83, priority: 2 },
      ],
    })
    const { until } = yield* watching(registry, "_grpc._tcp.pi.test")
    assert.deepEqual(yield* until("a.pi.test:82", "b.pi.test:81"), [["a.pi.test:82", "b.pi.test:81"]])
    server.answer("_grpc._tcp.pi.test", [{ target: "spare.pi.test", port: 83, priority: 2 }])
    yield* until("spare.pi.test:83")
  }))

test("a name that DNS doesn't know has no endpoints until it does", () =>
  Effect.gen(function* () {
    const { server, registry } = yield* served({})
    const { until } = yield* watching(registry, "later.test:80")
    yield* until()
    server.answer("later.test", ["10.0.0.1"])
    assert.deepEqual(yield* until("10.0.0.1:80"), [["10.0.0.1:80"]])
  }))

test("DNS is asked at once for a client that has lost an endpoint, though not sooner than it may be", () =>
  Effect.gen(function* () {
    const server = yield* dnsServer({ "pi.test": ["10.0.0.1"], "other.test": ["10.0.0.1"] })
    for (const soonest of ["0 seconds", "300 millis"] as const) {
      server.answer("pi.test", ["10.0.0.1"])
      const registry = dns({ servers: [server.host], every: "1 hour", soonest })
      const { until } = yield* watching(registry, "pi.test:80")
      yield* until("10.0.0.1:80")
      const began = performance.now()
      server.answer("pi.test", ["10.0.0.2"])
      yield* registry.refresh?.("other.test:80") ?? Effect.void
      yield* registry.refresh?.("pi.test:80") ?? Effect.void
      yield* until("10.0.0.2:80")
      assert.ok(performance.now() - began >= Duration.toMillis(soonest) - 50)
    }
  }))

for (const gone of ["fails", "unknown", []] as const) {
  test(`the last endpoints stay while DNS answers ${gone.length === 0 ? "with nothing" : gone}`, () =>
    Effect.gen(function* () {
      const { server, registry } = yield* served({ "pi.test": ["10.0.0.1"] })
      const { until } = yield* watching(registry, "pi.test:80")
      yield* until("10.0.0.1:80")
      server.answer("pi.test", gone)
      yield* server.asked("pi.test")
      yield* server.asked("pi.test")
      server.answer("pi.test", ["10.0.0.2"])
      assert.deepEqual(yield* until("10.0.0.2:80"), [["10.0.0.2:80"]])
    }))
}

// The machine's own resolver, which knows the file of hosts.
test("without servers of its own the machine's names count", () =>
  Effect.gen(function* () {
    const [first = []] = Array.from(yield* Stream.runCollect(Stream.take(dns().resolve("localhost:80"), 1)))
    assert.ok(first.some(({ address }) => address === "127.0.0.1:80" || address === "[::1]:80"))
  }))

test("an IP address is its own endpoint", () =>
  Effect.gen(function* () {
    const { registry } = yield* served({})
    const v4 = yield* watching(registry, "10.0.0.1:80")
    yield* v4.until("10.0.0.1:80")
    const v6 = yield* watching(registry, "[::1]:80")
    yield* v6.until("[::1]:80")
  }))

for (const { what, server } of [
  { what: "a server that doesn't answer", server: "127.0.0.1:1" },
  { what: "a server that has no address", server: "nowhere" },
]) {
  test(`${what} fails who asks for the first time`, () =>
    Effect.gen(function* () {
      const registry = dns({ servers: [server] })
      const error = yield* Effect.flip(Stream.runHead(registry.resolve("pi.test:80")))
      assert.equal(error.code, "unavailable")
      assert.match(error.message, /^DNS can't be asked for pi\.test: /)
    }))
}

test("what DNS can't be asked for is invalid, and nothing can be registered in it", () =>
  Effect.gen(function* () {
    for (const name of ["", ":80", "pi:port", "pi:70000", "pi test:80", "[::1]", "::1", "http://pi"]) {
      const error = yield* Effect.flip(Stream.runHead(dns().resolve(name)))
      assert.equal(error.code, "invalid_argument", name)
    }
    const error = yield* Effect.flip(dns().register("pi.test:80", { address: "a:1" }, Duration.seconds(1)))
    assert.equal(error.code, "unimplemented")
  }))

test("a URL names the server that is asked", () =>
  Effect.gen(function* () {
    const server = yield* dnsServer({
      "pi.test": ["10.0.0.1"],
      "_grpc._tcp.pi.test": [{ target: "a.pi.test", port: 82 }],
    })
    const host = yield* openRegistry(`dns://${server.host}/pi.test:80`)
    const hosts = yield* watching(host.registry, host.service)
    yield* hosts.until("10.0.0.1:80")
    const service = yield* openRegistry(`srv://${server.host}/_grpc._tcp.pi.test`)
    const services = yield* watching(service.registry, service.service)
    yield* services.until("a.pi.test:82")
  }))
