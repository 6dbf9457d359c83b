// Node has no server for such functions: this is one on its own HTTP/1.1.
import { createServer } from "node:http"
import { pipeline } from "node:stream/promises"
import { handler } from "./handler.ts"

const server = createServer(async (incoming, outgoing) => {
  const { method = "GET", headers, url = "/" } = incoming
  const fields = Object.entries(headers).flatMap(([name, value = []]) =>
    [value].flat().map((one): [string, string] => [name, one]),
  )
  const chunks: AsyncIterator<Uint8Array> = incoming[Symbol.asyncIterator]()
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await chunks.next()
      if (done === true) controller.close()
      else controller.enqueue(value)
    },
    // What nobody reads is read away: the response has yet to be sent on this socket.
    cancel: () => void incoming.resume(),
  })
  const withBody = method === "GET" || method === "HEAD" ? {} : { body, duplex: "half" }
  const request = new Request(new URL(url, "http://127.0.0.1"), { method, headers: fields, ...withBody })
  const response = await handler(request)
  outgoing.writeHead(response.status, Object.fromEntries(response.headers))
  // A client that leaves early is no error of ours.
  await pipeline(response.body ?? [], outgoing).catch(() => {})
})
server.listen(Number(process.argv[2] ?? 8080), "127.0.0.1", () => {
  const address = server.address()
  const port = typeof address === "object" ? address?.port : address
  process.stdout.write(`listening on http://127.0.0.1:${port}\n`)
})
