/**
 * `node:http2` as it is: the bytes of a stream come back on it.
 */
import { createServer, type ServerHttp2Stream } from "node:http2"
import { listening } from "./listening.ts"

// The window of a stream is as wide as ours; the connection's stays, for after `setLocalWindowSize` Bun 1.4.5 opens no
// stream's window any more (oven-sh/bun#40180).
const server = createServer({ settings: { initialWindowSize: 2 ** 20 } })
server.on("stream", (stream: ServerHttp2Stream) => {
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true })
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }))
  stream.pipe(stream)
})
listening(server)
