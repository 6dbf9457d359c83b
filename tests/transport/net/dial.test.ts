import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import * as http from "node:http"
import * as net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe } from "node:test"
import * as tls from "node:tls"
import { Duration, Effect, Exit, Fiber, Result, Scope } from "effect"
import { TestClock } from "effect/testing"
import { Call, type Peer } from "../../../src/core/rpc/call.ts"
import type { RpcError } from "../../../src/core/rpc/error.ts"
import { AddressError, type ConnectOptions } from "../../../src/transport/channel.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import { limitsOf } from "../../../src/transport/http2/limits.ts"
import { parseAddress } from "../../../src/transport/net/address.ts"
import { clientTimes } from "../../../src/transport/net/clientSession.ts"
import { dial as dialTarget } from "../../../src/transport/net/dial.ts"
import type { TlsOptions } from "../../../src/transport/net/tls.ts"
import * as Service from "../../../src/transport/service.ts"
import { settle } from "../../core/support.ts"
import { test, testWithClock } from "../../effect.ts"
import { settings } from "../http2/support.ts"
import { dial, ownScope, pi, start } from "../support.ts"

const pem = (name: string) => readFileSync(join(import.meta.dirname, "..", "certificates", name), "utf8")
const identity: TlsOptions = { key: pem("server.key"), cert: pem("server.pem") }
const ca = pem("ca.pem")
const client = { key: pem("client.key"), cert: pem("client.pem") }

const onPort: net.ListenOptions = { host: "127.0.0.1", port: 0 }

/** Lets a server listen, on a free port if it is told no place, until the scope closes. Gives the port. */
const listening = Effect.fnUntraced(function* (server: net.Server, place: net.ListenOptions = onPort) {
  const sockets = new Set<net.Socket>()
  for (const event of ["connection", "secureConnection"]) {
    server.on(event, (socket: net.Socket) => {
      sockets.add(socket)
      socket.on("error", () => {})
    })
  }
  server.on("tlsClientError", () => {})
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(place, () => resume(Effect.void))
    }),
    () =>
      Effect.sync(() => {
        server.close()
        for (const socket of sockets) socket.destroy()
      }),
  )
  const bound = server.address()
  return { sockets, port: typeof bound === "object" && bound !== null ? bound.port : 0 }
})

/** A server that does this with each socket. */
const doing = (act: (socket: net.Socket) => void) => Effect.map(listening(net.createServer(act)), ({ port }) => port)

const answer = (url: string, options?: ConnectOptions) =>
  Effect.flatMap(dial({ url }, options), (calculator) => calculator.calc({ n: 1 }))

/** Connects, and gives the error of that. */
const refused = (url: string, options?: ConnectOptions): Effect.Effect<RpcError, unknown, Scope.Scope> =>
  Effect.flatMap(dial({ url }, options), (calculator) => Effect.flip(calculator.calc({ n: 1 })))

const says = (error: RpcError, reason: RegExp) => {
  assert.equal(error.code, "unavailable")
  assert.match(error.message, /^cannot connect to [a-z]+:.*: /)
  assert.match(error.message, reason)
}

describe("a channel to an https: address", () => {
  const secure = start(pi, { tls: identity })

  test("trusts who its CA has signed, by name and by IP address", () =>
    Effect.gen(function* () {
      const { port } = yield* secure
      for (const host of ["localhost", "127.0.0.1"]) yield* answer(`https://${host}:${port}`, { tls: { ca } })
    }))

  test("trusts nobody else, and says that it is the certificate", () =>
    Effect.gen(function* () {
      const { port } = yield* secure
      for (const options of [{}, { tls: { ca: client.cert } }]) {
        says(yield* refused(`https://localhost:${port}`, options), /certificate/)
      }
    }))

  test("holds the server to its name, the address's or the one it is told", () =>
    Effect.gen(function* () {
      const { port } = yield* secure
      const url = `https://127.0.0.1:${port}`
      yield* answer(url, { tls: { ca, serverName: "server.example" } })
      says(yield* refused(url, { tls: { ca, serverName: "other.example" } }), /its certificate is for other names/)
    }))

  test("tells the server by which name it is called", () =>
    Effect.gen(function* () {
      const names: Array<string> = []
      const SNICallback = (name: string, done: (error: null, context: tls.SecureContext) => void) => {
        names.push(name)
        done(null, tls.createSecureContext({ ...identity }))
      }
      const { port } = yield* listening(tls.createServer({ ...identity, SNICallback, ALPNProtocols: ["h2"] }))
      const asked = (options: ConnectOptions) =>
        Effect.exit(Effect.timeoutOption(answer(`https://localhost:${port}`, options), "1 second"))
      yield* asked({ tls: { ca }, connectTimeout: "100 millis" })
      yield* asked({ tls: { ca, serverName: "other.example" }, connectTimeout: "100 millis" })
      assert.deepEqual(names, ["localhost", "other.example"])
    }))

  test("shows its certificate to a server that asks for one", () =>
    Effect.gen(function* () {
      const peers: Array<Peer> = []
      const service = Service.partial(PiCalculator, {
        calc: () => Effect.map(Call, ({ peer }) => ({ value: peers.push(peer) })),
      })
      const { port } = yield* start(service, { tls: { ...identity, clientCa: ca } })
      yield* answer(`https://localhost:${port}`, { tls: { ca, ...client } })
      assert.equal(peers[0]?.identity?.subject, "client")
      says(yield* refused(`https://localhost:${port}`, { tls: { ca } }), /it asks for a certificate of the client/)
      assert.equal(peers.length, 1)
    }))

  for (const [what, protocols] of [
    ["nothing", undefined],
    ["HTTP/1.1 alone", ["http/1.1"]],
  ] as const) {
    test(`takes none whose server agrees on ${what} by ALPN`, () =>
      Effect.gen(function* () {
        const ALPNProtocols = protocols === undefined ? {} : { ALPNProtocols: [...protocols] }
        const { port } = yield* listening(tls.createServer({ ...identity, ...ALPNProtocols }))
        says(yield* refused(`https://localhost:${port}`, { tls: { ca } }), /no HTTP\/2 over TLS.*ALPN/)
      }))
  }

  test("says that a server without TLS may have none", () =>
    Effect.gen(function* () {
      const { port } = yield* start(pi)
      says(yield* refused(`https://127.0.0.1:${port}`, { tls: { ca } }), /check that it does, and over TLS/)
    }))

  test("isn't made with certificates that can't be used, which is said with what to do", () =>
    Effect.gen(function* () {
      for (const [options, expected] of [
        [{ ca: "no certificate" }, /tls\.ca is no certificate: give one in PEM/],
        [{ ...client, cert: "no certificate" }, /tls\.cert is no certificate: give one in PEM/],
        [{ ...client, key: "no key" }, /tls\.key is no private key: give one in PEM/],
        [{ ...client, key: identity.key }, /tls\.key is the key of another certificate/],
        [{ cert: client.cert }, /tls\.key is missing/],
        [{ key: client.key }, /tls\.cert is missing/],
      ] as const) {
        const error = yield* Effect.flip(dial({ url: "https://localhost:1" }, { tls: options }))
        assert.ok(error instanceof AddressError)
        assert.match(error.message, /^cannot connect to https:\/\/localhost:1: /)
        assert.match(error.message, expected)
      }
    }))
})

describe("a channel to an http: address", () => {
  test("says of a server of HTTP/1.1 that it speaks no HTTP/2, and how to call it", () =>
    Effect.gen(function* () {
      const { port } = yield* listening(http.createServer((_, response) => response.end("hello")))
      const wayOut = /it speaks HTTP\/1\.1, and no HTTP\/2: give protocol: "connect" and httpVersion: "1\.1"/
      says(yield* refused(`http://127.0.0.1:${port}`), wayOut)
    }))

  test("says so of a server of anything else", () =>
    Effect.gen(function* () {
      const port = yield* doing((socket) => socket.write("SSH-2.0-OpenSSH_9.9\r\n"))
      says(yield* refused(`http://127.0.0.1:${port}`), /it speaks no HTTP\/2 \(/)
    }))

  for (const [when, act] of [
    ["at once", (socket: net.Socket) => socket.destroy()],
    ["when it has been spoken to", (socket: net.Socket) => socket.once("data", () => socket.end())],
  ] as const) {
    test(`says that a server closes the connection ${when}`, () =>
      Effect.gen(function* () {
        says(
          yield* refused(`http://127.0.0.1:${yield* doing(act)}`),
          /it closes the connection before it speaks.*httpVersion: "1\.1"/,
        )
      }))
  }

  test("says that it may want https: of a server with TLS", () =>
    Effect.gen(function* () {
      const { port } = yield* start(pi, { tls: identity })
      says(yield* refused(`http://127.0.0.1:${port}`), /https:|no HTTP\/2/)
    }))

  test("says that there is no such name, or nobody at a port", () =>
    Effect.gen(function* () {
      const scope = yield* ownScope
      const { port } = yield* Scope.provide(start(pi), scope)
      yield* Scope.close(scope, Exit.void)
      says(yield* refused("http://no-such-host.invalid"), /no such host name|looked up/)
      says(yield* refused(`http://127.0.0.1:${port}`), /nothing listens there/)
    }))

  test("finds a server by IPv6 and by name", () =>
    Effect.gen(function* () {
      const six = yield* Effect.result(start(pi, { host: "::1" }))
      // Not every machine has IPv6.
      if (Result.isSuccess(six)) yield* answer(`http://[::1]:${six.success.port}`)
      yield* answer(`http://localhost:${(yield* start(pi)).port}`)
    }))
})

describe("a channel to a unix: address", () => {
  test("finds the server behind the socket, however the address writes its path", () =>
    Effect.gen(function* () {
      const { port } = yield* start(pi)
      const path = join(tmpdir(), `basel-${process.pid}-${port}.sock`)
      const relay = net.createServer((near) => {
        const far = net.connect(port, "127.0.0.1")
        far.on("error", () => {})
        near.on("close", () => far.destroy())
        near.pipe(far).pipe(near)
      })
      yield* listening(relay, { path })
      yield* answer(`unix:${path}`)
      yield* answer(`unix://${path}`)
      says(yield* refused(`unix:${path}.none`), /there is no such socket/)
    }))
})

const quiet = { room: () => {}, left: () => {}, closed: () => {} }

/** Connects as a line does, to a server of our own making. */
const connecting = (port: number, room = () => {}) =>
  dialTarget(
    Result.getOrThrow(parseAddress(`http://127.0.0.1:${port}`, {})),
    { times: clientTimes({}, Duration.infinity), limits: limitsOf(), timeout: "20 seconds" },
    { ...quiet, room },
  )

/** Waits until no socket is open any more. */
const gone = (sockets: ReadonlySet<net.Socket>) =>
  Effect.promise(async () => {
    while ([...sockets].some(({ closed }) => !closed)) await new Promise((resolve) => setImmediate(resolve))
  })

/** Waits until a client has connected. */
const come = (server: net.Server) =>
  Effect.callback<net.Socket>((resume) => {
    server.once("connection", (socket) => resume(Effect.succeed(socket)))
  })

describe("dialling", () => {
  testWithClock("gives up a server that says nothing, and closes the connection", () =>
    Effect.gen(function* () {
      const server = net.createServer((socket) => socket.resume())
      const { port, sockets } = yield* listening(server)
      const arrived = yield* Effect.forkChild(come(server))
      yield* settle
      const fiber = yield* Effect.forkChild(Effect.flip(connecting(port)))
      yield* Fiber.join(arrived)
      yield* TestClock.adjust("19999 millis")
      assert.equal(fiber.pollUnsafe(), undefined)
      yield* TestClock.adjust("1 millis")
      says(yield* Fiber.join(fiber), /it doesn't answer within 20000 ms/)
      yield* gone(sockets)
    }),
  )

  test("fails, and does nothing worse, where the runtime takes no such options", () =>
    Effect.gen(function* () {
      const target = Result.getOrThrow(parseAddress("https://127.0.0.1:1", { ca: "nonsense" }))
      const options = { times: clientTimes({}, Duration.infinity), limits: limitsOf(), timeout: "20 seconds" } as const
      says(yield* Effect.flip(dialTarget(target, options, quiet)), /./)
    }))

  test("that is interrupted closes the connection", () =>
    Effect.gen(function* () {
      const server = net.createServer((socket) => socket.resume())
      const { port, sockets } = yield* listening(server)
      const arrived = yield* Effect.forkChild(come(server))
      yield* settle
      const fiber = yield* Effect.forkChild(connecting(port))
      yield* Fiber.join(arrived)
      yield* Fiber.interrupt(fiber)
      yield* gone(sockets)
    }))

  test("that is interrupted in the moment in which it succeeds leaves no connection behind", () =>
    Effect.gen(function* () {
      const server = net.createServer((socket) => {
        socket.resume()
        socket.write(settings())
      })
      const { port, sockets } = yield* listening(server)
      let fiber: Fiber.Fiber<unknown, RpcError> | undefined
      const room = () => fiber?.interruptUnsafe()
      fiber = yield* Effect.forkChild(connecting(port, room))
      const exit = yield* Fiber.await(fiber)
      assert.ok(Exit.isFailure(exit))
      yield* gone(sockets)
    }))
})
