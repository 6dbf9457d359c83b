/**
 * HTTP/1.1 under TLS, where a request comes in two records at once while the answer before it waits to be read. Node's
 * parser took the second record for an error, since it had paused at the first, and the connection was cut.
 */
import assert from "node:assert/strict"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import * as net from "node:net"
import * as tls from "node:tls"
import { Effect } from "effect"
import type { Server } from "./processes.ts"
import { ca, runtimes, secureName, testServed } from "./programs.ts"
import { test } from "./support.ts"

const applicationData = 23
const headerLength = 5

/** How many whole records of data there are (RFC 8446, section 5.1). */
const recordsIn = (bytes: Buffer): number => {
  let records = 0
  for (let at = 0; at + headerLength <= bytes.length; ) {
    const end = at + headerLength + bytes.readUInt16BE(at + 3)
    if (end <= bytes.length && bytes[at] === applicationData) records++
    at = end
  }
  return records
}

/** A way to a server on which the bytes of either side can be held up. */
const gate = Effect.fnUntraced(function* ({ port }: Server) {
  const sockets: Array<net.Socket> = []
  let held: Buffer | undefined
  let twoHeld = () => {}
  let answered = 0
  let answering = () => {}
  let shut = false
  const proxy = net.createServer((client) => {
    const target = net.connect(port, "127.0.0.1")
    for (const socket of [client, target]) sockets.push(socket.on("error", () => {}))
    client.on("data", (chunk: Buffer) => {
      if (held === undefined) return target.write(chunk)
      held = Buffer.concat([held, chunk])
      if (recordsIn(held) === 2) twoHeld()
    })
    target.on("data", (chunk: Buffer) => {
      client.write(chunk)
      answered += chunk.length
      // What came before the answer, of the handshake, is shorter.
      if (!shut || answered < 65_536) return
      target.pause()
      answering()
    })
    target.on("close", () => client.end())
  })
  proxy.listen(0, "127.0.0.1")
  yield* Effect.promise(() => once(proxy, "listening"))
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      proxy.close()
      for (const socket of sockets) socket.destroy()
    }),
  )
  const address = proxy.address()
  assert.ok(typeof address === "object" && address !== null)
  return {
    port: address.port,
    /** Lets no more through of the answer to what is sent than its beginning, and waits for that. */
    stall: (send: () => void) =>
      Effect.promise(async () => {
        shut = true
        const begun = new Promise<void>((resolve) => {
          answering = resolve
        })
        send()
        await begun
      }),
    /** Sends what comes as two records in one piece, and lets through all that there is. */
    join: (send: () => void) =>
      Effect.promise(async () => {
        held = Buffer.alloc(0)
        const both = new Promise<void>((resolve) => {
          twoHeld = resolve
        })
        send()
        await both
        const [, target] = sockets
        target?.write(held)
        held = undefined
        shut = false
        target?.resume()
      }),
  }
})

const requestOf = (body: string, more = ""): readonly [head: string, body: string] => [
  `POST /grpc.testing.TestService/UnaryCall HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n${more}\r\n`,
  body,
]

/** The bodies of answers one after another. */
const bodiesOf = (received: Buffer): ReadonlyArray<Buffer> => {
  const bodies: Array<Buffer> = []
  for (let at = 0; at < received.length; ) {
    const start = received.indexOf("\r\n\r\n", at) + 4
    const head = received.toString("latin1", at, start)
    const [, length] = /^HTTP\/1\.1 200 .*\r\ncontent-length: (\d+)\r\n/is.exec(head) ?? assert.fail(head)
    at = start + Number(length)
    bodies.push(received.subarray(start, at))
  }
  return bodies
}

/** As JSON has bytes that are all zero. */
const zeros = (size: number): string => `{"payload":{"body":"${Buffer.alloc(size).toString("base64")}"}}`

// More than the sockets on the way take in before anybody reads.
const large = 24 * 1024 * 1024

for (const runtime of runtimes) {
  test(`two records at once behind an answer that waits get their answer, on ${runtime}`, () =>
    Effect.gen(function* () {
      const way = yield* gate(yield* testServed(runtime, true))
      const socket = tls.connect({
        host: "127.0.0.1",
        port: way.port,
        ca: readFileSync(ca),
        servername: secureName,
        ALPNProtocols: ["http/1.1"],
      })
      yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
      yield* Effect.promise(() => once(socket, "secureConnect"))
      const [head, body] = requestOf(`{"responseSize":${large}}`)
      yield* way.stall(() => socket.write(head + body))
      const [nextHead, nextBody] = requestOf('{"responseSize":3}', "connection: close\r\n")
      yield* way.join(() => {
        socket.write(nextHead)
        socket.write(nextBody)
      })
      const received: Array<Buffer> = []
      socket.on("data", (chunk: Buffer) => received.push(chunk))
      yield* Effect.promise(() => once(socket, "close"))
      const bodies = bodiesOf(Buffer.concat(received))
      assert.equal(bodies.length, 2)
      assert.ok(bodies[0]?.equals(Buffer.from(zeros(large))), "the first answer is whole")
      assert.equal(bodies[1]?.toString(), zeros(3))
    }))
}
