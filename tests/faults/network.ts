/**
 * A hostile network: a port that leads to a server, on which anything may happen to what passes.
 */
import * as net from "node:net"
import { Effect, type Scope } from "effect"

export interface NetworkOptions {
  /** How it lets bytes pass: all that there are, or one after the other. Default: all. */
  readonly pace?: "all" | "bytes"
  /** How long it keeps what it is given, in milliseconds. Default: it doesn't. */
  readonly delay?: number
  /** How many bytes it lets pass on a connection, both ways together, before it resets it. Default: no limit. */
  readonly cutAfter?: () => number
}

export interface Network {
  readonly host: string
  readonly port: number
  readonly url: string
  /** How many connections there are, how many there were at most at once, and how many there were in all. */
  readonly open: () => number
  readonly most: () => number
  readonly made: () => number
  /** Resets all connections. */
  readonly reset: Effect.Effect<void>
  /** Loses all that is sent on the connections there are, and tells neither end. New connections are as good as ever. */
  readonly silence: Effect.Effect<void>
  /** Ends once all connections have. */
  readonly empty: Effect.Effect<void>
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))
const written = (to: net.Socket, bytes: Uint8Array) =>
  new Promise<void>((resolve) => {
    to.write(bytes, () => resolve())
  })

/** A connection that goes through. */
class Link {
  silent = false
  private readonly ends: readonly [net.Socket, net.Socket]
  private readonly options: NetworkOptions
  private left: number
  private readonly gone: () => void

  constructor(client: net.Socket, server: net.Socket, options: NetworkOptions, gone: () => void) {
    this.ends = [client, server]
    this.options = options
    this.left = options.cutAfter?.() ?? Number.POSITIVE_INFINITY
    this.gone = gone
    this.carry(client, server)
    this.carry(server, client)
  }

  reset(): void {
    for (const end of this.ends) end.resetAndDestroy()
  }

  private carry(from: net.Socket, to: net.Socket): void {
    // All in its order: an end or a reset doesn't overtake what was sent before.
    let last = Promise.resolve()
    const then = (next: () => void | Promise<void>) => {
      last = last.then(() => (this.silent ? undefined : next()))
    }
    from.setNoDelay(true)
    from.on("data", (chunk: Buffer) => then(() => this.pass(chunk, to)))
    from.on("end", () => then(() => void to.end()))
    from.on("error", () => then(() => void to.resetAndDestroy()))
    from.on("close", () => {
      then(() => void to.end())
      if (this.ends.every(({ destroyed }) => destroyed)) this.gone()
    })
  }

  private async pass(chunk: Buffer, to: net.Socket): Promise<void> {
    const { pace, delay } = this.options
    if (delay !== undefined) await new Promise((resolve) => setTimeout(resolve, delay))
    const passes = chunk.subarray(0, this.left)
    this.left -= passes.length
    for (let i = 0; pace === "bytes" && i < passes.length && !this.silent; i++) {
      await written(to, passes.subarray(i, i + 1))
      await turn()
    }
    if (pace !== "bytes" && passes.length > 0 && !this.silent) await written(to, passes)
    if (this.left === 0) this.reset()
  }
}

/** A network between clients and a server, until the scope closes. */
export const network = Effect.fnUntraced(function* (
  server: { readonly port: number },
  options: NetworkOptions = {},
): Effect.fn.Return<Network, never, Scope.Scope> {
  const links = new Set<Link>()
  let made = 0
  let most = 0
  let emptied = () => {}
  const listener = net.createServer((client) => {
    const link: Link = new Link(client, net.connect({ host: "127.0.0.1", port: server.port }), options, () => {
      links.delete(link)
      if (links.size === 0) emptied()
    })
    links.add(link)
    made++
    most = Math.max(most, links.size)
  })
  const reset = Effect.sync(() => {
    for (const link of links) link.reset()
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      listener.listen({ host: "127.0.0.1", port: 0 }, () => resume(Effect.void))
    }),
    () =>
      Effect.andThen(
        Effect.sync(() => listener.close()),
        reset,
      ),
  )
  const { port } = listener.address() as net.AddressInfo
  return {
    host: "127.0.0.1",
    port,
    url: `http://127.0.0.1:${port}`,
    open: () => links.size,
    most: () => most,
    made: () => made,
    reset,
    silence: Effect.sync(() => {
      for (const link of links) link.silent = true
    }),
    empty: Effect.callback<void>((resume) => {
      emptied = () => resume(Effect.void)
      if (links.size === 0) emptied()
    }),
  }
})
