/**
 * Memory of a server: the budgets of its connections, each a part of its peer's, which is a part of the process's.
 */
import { MemoryBudget } from "../http2/memory.ts"

export interface MemoryOptions {
  /**
   * How many bytes may be held for all peers together: bodies that no program has read, messages that aren't whole,
   * responses that no peer has taken, and 8 KiB for each stream of HTTP/2. What is over it is refused with
   * `resource_exhausted`, while all else is served. All servers and channels of a process share one budget of the default;
   * a server that is given this option has one of its own. Default: 512 MiB.
   *
   * @example
   * const server = yield* serve(pi, { memory: { process: 128 * 1024 * 1024 } })
   */
  readonly process?: number
  /**
   * How many of these bytes one connection may hold. The largest message, in either direction, has to fit in.
   * Default: 64 MiB.
   *
   * @example
   * const server = yield* serve(pi, { memory: { connection: 256 * 1024 * 1024 }, maxReceiveBytes: 100 * 1024 * 1024 })
   */
  readonly connection?: number
  /**
   * Which share of the process's bytes all connections from one address may hold, from 0 to 1. Give 1 behind a proxy, where
   * all clients come from one address. Default: 0.25.
   *
   * @example
   * const server = yield* serve(pi, { memory: { peerShare: 1 } }) // behind a proxy
   */
  readonly peerShare?: number
}

/** How much memory is held for peers, as a metric. */
export interface MemoryUse {
  /** Bytes that are held now. */
  readonly used: number
  /** Bytes that may be held. */
  readonly limit: number
  /** How often something was refused for want of memory, be it the process's, a peer's or a connection's. */
  readonly refused: number
}

const mebibyte = 1024 * 1024

export const defaultConnectionMemory = 64 * mebibyte

/** The budget that all of a process share. */
export const processMemory = new MemoryBudget("process", 512 * mebibyte)

/** The budget of a connection, for as long as that is open. */
export class ConnectionMemory extends MemoryBudget {
  private readonly refused: () => void
  private readonly ended: () => void

  constructor(limit: number, parent: MemoryBudget, refused: () => void, ended: () => void) {
    super("connection", limit, parent)
    this.refused = refused
    this.ended = ended
  }

  override take(bytes: number): MemoryBudget | undefined {
    const short = super.take(bytes)
    if (short !== undefined) this.refused()
    return short
  }

  /** Gives all back: the connection is closed. */
  end(): void {
    this.give(this.used)
    this.ended()
  }
}

/** The budget of a connection of a channel's. */
export const clientMemory = (): ConnectionMemory =>
  new ConnectionMemory(
    defaultConnectionMemory,
    processMemory,
    () => {},
    () => {},
  )

/** The budgets of a server. */
export class ServerMemory implements MemoryUse {
  refused = 0
  private readonly process: MemoryBudget
  private readonly connection: number
  private readonly peerShare: number
  // Those that have connections: the last one takes its peer's with it.
  private readonly peers = new Map<string, { readonly budget: MemoryBudget; connections: number }>()
  private readonly refuse = () => {
    this.refused++
  }

  constructor({ process, connection = defaultConnectionMemory, peerShare = 0.25 }: MemoryOptions = {}) {
    this.process = process === undefined ? processMemory : new MemoryBudget("process", process)
    this.connection = connection
    this.peerShare = peerShare
  }

  get used(): number {
    return this.process.used
  }

  get limit(): number {
    return this.process.limit
  }

  /** How many peers have connections. */
  get openPeers(): number {
    return this.peers.size
  }

  /** The budget of a new connection from an address without its port, or from a network. */
  open(address: string): ConnectionMemory {
    let peer = this.peers.get(address)
    if (peer === undefined) {
      peer = { budget: new MemoryBudget("peer", this.process.limit * this.peerShare, this.process), connections: 0 }
      this.peers.set(address, peer)
    }
    const { budget } = peer
    peer.connections++
    return new ConnectionMemory(this.connection, budget, this.refuse, () => this.left(address))
  }

  private left(address: string): void {
    const peer = this.peers.get(address)
    if (peer === undefined) return
    peer.connections--
    if (peer.connections === 0) this.peers.delete(address)
  }
}
