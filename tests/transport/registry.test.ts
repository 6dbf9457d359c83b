import assert from "node:assert/strict"
import { Effect, Stream } from "effect"
import { openRegistry } from "../../src/transport/registry.ts"
import { test } from "../effect.ts"

test("static: has the endpoints that it names", () =>
  Effect.gen(function* () {
    const { registry, service } = yield* openRegistry("static:a:1,[::1]:2,unix:/run/pi.sock")
    assert.deepEqual(Array.from(yield* Stream.runCollect(Stream.take(registry.resolve(service), 1))), [
      [{ address: "a:1" }, { address: "[::1]:2" }, { address: "unix:/run/pi.sock" }],
    ])
  }))

test("dns: names a host with a port, srv: a service without, and either a server to ask", () =>
  Effect.gen(function* () {
    for (const [url, expected] of [
      ["dns://pi.example:80", "pi.example:80"],
      ["dns:///pi.example:80", "pi.example:80"],
      ["dns:pi.example:80", "pi.example:80"],
      ["dns://127.0.0.1:53/pi.example:80", "pi.example:80"],
      ["srv://_grpc._tcp.example", "_grpc._tcp.example"],
      ["srv://127.0.0.1/_grpc._tcp.example", "_grpc._tcp.example"],
    ] as const) {
      assert.equal((yield* openRegistry(url)).service, expected)
    }
  }))

test("what names no registry, or no service in it, is told, and nothing of a password in it", () =>
  Effect.gen(function* () {
    for (const [url, what] of [
      ["pi", "names no registry: give a URL that begins with etcd:, etcds:, dns:, srv: or static:"],
      ["http://pi:80", "names no registry"],
      ["ada:secret@one", "names no registry"],
      ["etcd://ada:secret@one", "names no service: put a / and its name behind the host, such as /pi"],
      ["etcd://ada:secret@one:x/pi", "has a host that isn't one"],
      ["dns://pi.example", "names no host and port: give dns://host:port"],
      ["dns://pi.example:0", "names no host and port"],
      ["dns:///", "names no host and port"],
      ["srv://pi.example:80", "names no service: give srv:// and a name without a port"],
      ["static:", "names no address: give static:host:port,host:port"],
    ] as const) {
      const { message } = yield* Effect.flip(openRegistry(url))
      assert.ok(message.includes(what), `${url}: ${message}`)
      assert.doesNotMatch(message, /secret/)
    }
  }))
