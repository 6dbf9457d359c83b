import type { Server } from "node:net"
import process from "node:process"

/** Puts a server on a free port, and says which. */
export const listening = (server: Server): void => {
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    if (address === null || typeof address === "string") throw new Error(`no port: ${address}`)
    process.stdout.write(`listening on 127.0.0.1:${address.port}\n`)
  })
}
