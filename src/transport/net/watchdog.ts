/**
 * A watchdog: sees whether a listener still accepts, and has it listen anew if it doesn't.
 *
 * Under Deno one that could not accept for want of a file descriptor accepts nothing ever after, and says nothing of it. So
 * it calls itself, once a second, while there are or were as many connections as may have used up the descriptors, and
 * nobody else has shown that it accepts.
 */
import * as net from "node:net"
import { type DenoPermissions, runtimeDeno } from "./deno.ts"

const everyMillis = 1000
// Fewer connections than this use up the descriptors of no process that could begin to serve.
const crowd = 32

// An address that stands for all of a machine's is none to call.
const callable = (host: string): string => (host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host)

// Deno would ask whoever sits at the terminal.
const mayCall = ({ permissions }: DenoPermissions, host: string, port: number): boolean =>
  permissions.querySync({ name: "net", host: `${host.includes(":") ? `[${host}]` : host}:${port}` }).state === "granted"

export class Watchdog {
  private readonly host: string
  private readonly port: number
  private readonly relisten: () => void
  private readonly timer: NodeJS.Timeout
  // How many connections there were at most since it was last seen that others are accepted.
  private most = 0
  private open = 0
  private accepted = false
  private call: net.Socket | undefined
  // Our call has a port, once it is there; and the listener heard from it.
  private called = false

  /** Watches a listener on an address, until `end`; `relisten` has it listen anew. `undefined` where there is no need. */
  static over(host: string, port: number, relisten: () => void): Watchdog | undefined {
    const deno = runtimeDeno()
    return deno !== undefined && mayCall(deno, callable(host), port) ? new Watchdog(host, port, relisten) : undefined
  }

  private constructor(host: string, port: number, relisten: () => void) {
    this.host = callable(host)
    this.port = port
    this.relisten = relisten
    this.timer = setInterval(() => this.look(), everyMillis)
    this.timer.unref()
  }

  /** A connection was accepted. True if it is the watchdog's own, and nobody's who wants to be served. */
  hears(socket: net.Socket): boolean {
    this.accepted = true
    if (this.call?.localPort === undefined || socket.remotePort !== this.call.localPort) {
      this.open += 1
      this.most = Math.max(this.most, this.open)
      return false
    }
    return true
  }

  /** One of the others was closed. */
  left(): void {
    this.open -= 1
  }

  end(): void {
    clearInterval(this.timer)
    this.call?.destroy()
  }

  private look(): void {
    const deaf = this.called && !this.accepted
    this.call?.destroy()
    this.call = undefined
    if (this.accepted) this.most = this.open
    if (deaf) this.relisten()
    this.accepted = false
    this.called = false
    if (this.most < crowd) return
    const call = net.connect({ host: this.host, port: this.port })
    call.on("connect", () => {
      this.called = true
    })
    // No descriptor is left for the call either: there will be one later.
    call.on("error", () => {})
    call.unref()
    this.call = call
  }
}
