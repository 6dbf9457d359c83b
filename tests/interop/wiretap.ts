/**
 * A look at the bytes between a client and a server.
 */
import assert from "node:assert/strict"
import * as net from "node:net"
import { Effect } from "effect"
import type { Server } from "./processes.ts"

/** A way to a server that keeps the bytes of its clients, and those that it sends them. */
export const wiretap = Effect.fnUntraced(function* ({ port }: Server) {
  const sent: Array<Uint8Array> = []
  const received: Array<Uint8Array> = []
  const sockets = new Set<net.Socket>()
  const proxy = net.createServer((client) => {
    const target = net.connect(port, "127.0.0.1")
    client.on("data", (chunk) => typeof chunk === "string" || sent.push(chunk))
    target.on("data", (chunk) => typeof chunk === "string" || received.push(chunk))
    client.pipe(target).pipe(client)
    for (const socket of [client, target]) sockets.add(socket.on("error", () => {}))
  })
  yield* Effect.callback<void>((resume) => {
    proxy.listen(0, "127.0.0.1", () => resume(Effect.void))
  })
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      proxy.close()
      for (const socket of sockets) socket.destroy()
    }),
  )
  const address = proxy.address()
  assert.ok(typeof address === "object" && address !== null)
  const host = `127.0.0.1:${address.port}`
  return { host, url: `http://${host}`, sent: () => Buffer.concat(sent), received: () => Buffer.concat(received) }
})

/** Whether the first gzip stream in bytes is the content of a gRPC message that says so: flag 1, then its length. */
export const hasGzip = (bytes: Buffer): boolean => bytes[bytes.indexOf("1f8b08", 0, "hex") - 5] === 1
