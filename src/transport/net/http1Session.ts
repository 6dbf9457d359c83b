/**
 * A session of HTTP/1.1: a connection of a server on its socket.
 */
import type * as net from "node:net"
import { type ConnectionOptions, Http1Connection } from "../http1/connection.ts"
import { Alarm, type Wakeable } from "./alarm.ts"
import type { ConnectionMemory } from "./memory.ts"

export interface Http1SessionOptions extends Omit<ConnectionOptions, "socket" | "wake" | "memory"> {
  readonly memory: ConnectionMemory
}

export class Http1Session implements Wakeable {
  private readonly connection: Http1Connection
  private readonly alarm = new Alarm(this)

  constructor(socket: net.Socket, options: Http1SessionOptions) {
    const { alarm } = this
    this.connection = new Http1Connection({ ...options, socket, wake: (at) => alarm.set(at) }, performance.now())
    socket.on("data", (chunk: Buffer) => this.receive(chunk))
    socket.on("drain", () => this.connection.drained())
    socket.once("end", () => this.connection.abandon())
    socket.once("close", () => {
      alarm.clear()
      this.connection.abandon()
      options.memory.end()
    })
  }

  /** Takes in what was read from the socket, and what was read before the session had it. */
  receive(chunk: Uint8Array): void {
    this.connection.receive(chunk)
  }

  drain(): void {
    this.connection.drain()
  }

  stop(): void {
    this.connection.stop()
  }

  ring(now: number): number {
    return this.connection.ring(now)
  }
}
