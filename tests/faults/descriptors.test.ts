import assert from "node:assert/strict"
import * as net from "node:net"
import { describe } from "node:test"
import { Effect } from "effect"
import type { ServeOptions } from "../../src/transport/server.ts"
import { file, running } from "../e2e/command.ts"
import { test } from "../effect.ts"
import { http1 } from "../transport/support.ts"

/** A server in a process that may have few files open. */
const server = (options: ServeOptions) =>
  Effect.gen(function* () {
    const command = file("tests/faults/countingServer.ts", JSON.stringify({ port: 0, grace: 0, ...options }))
    const program = yield* running(`{ ulimit -n 150; exec ${command}; }`)
    const [, port = ""] = yield* Effect.promise(() => program.said(/port (\d+)\./))
    return { host: "127.0.0.1", port: Number(port) }
  })

/** Connections that come, and say nothing; some may be refused. */
const crowd = (address: { readonly host: string; readonly port: number }, count: number) =>
  Effect.acquireRelease(
    Effect.sync(() =>
      Array.from({ length: count }, () => {
        const socket = net.connect(address)
        socket.on("error", () => {})
        return socket
      }),
    ),
    (sockets) => Effect.sync(() => sockets.forEach((socket) => void socket.destroy())),
  )

/** A request on a connection of its own, until one has its response. */
const served = (address: { readonly host: string; readonly port: number }) =>
  Effect.scoped(Effect.flatMap(http1(address), (request) => request({ ":path": "/none" }))).pipe(
    Effect.timeout("2 seconds"),
    Effect.tapError(() => Effect.sleep("200 millis")),
    Effect.eventually,
    Effect.timeout("20 seconds"),
  )

describe("a server without a file descriptor left", () => {
  for (const [what, options] of [
    ["keeps below its limit by itself", {}],
    ["goes on where it was told to go beyond its limit", { maxConnections: 1000, peerShare: 1 }],
  ] as const) {
    test(`${what}: once the crowd has left it serves again`, () =>
      Effect.gen(function* () {
        const address = yield* server(options)
        assert.equal((yield* served(address)).status, 404)
        yield* Effect.scoped(Effect.andThen(crowd(address, 400), Effect.sleep("1500 millis")))
        assert.equal((yield* served(address)).status, 404)
      }))
  }
})
