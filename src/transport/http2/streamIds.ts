/**
 * Stream identifiers: which end has opened a stream, whether it has, and which streams were reset lately.
 *
 * Source: RFC 9113, sections 5.1 and 5.1.1.
 */
import { maxInt31 } from "./frames.ts"

// Streams that one end cuts short before the other can have heard of the first of them.
const maxRemembered = 4096

/** The identifiers of a connection, as one of its ends sees them: a client's are odd, and each end's only ever rise. */
export class StreamIds {
  /** The last stream that the peer has opened; 0 for none. */
  lastOfPeer = 0
  private nextOwn: number
  // In the order in which they were reset.
  private lately: Set<number> | undefined
  // The highest one that was too many to be among them; any below it may have been too.
  private forgotten = 0

  constructor(role: "server" | "client") {
    this.nextOwn = role === "server" ? 2 : 1
  }

  /** True if this end can open no stream any more. */
  get exhausted(): boolean {
    return this.nextOwn > maxInt31
  }

  /** Opens a stream of this end. */
  open(): number {
    const id = this.nextOwn
    this.nextOwn += 2
    return id
  }

  /** True if a stream is the peer's to open, and it hasn't yet. */
  isNew(id: number): boolean {
    return id > this.lastOfPeer && this.isPeers(id)
  }

  /** True if a stream was opened by neither end. */
  isIdle(id: number): boolean {
    return this.isPeers(id) ? id > this.lastOfPeer : id >= this.nextOwn
  }

  /** Remembers, for a while, a stream that this end has reset: what the peer had under way on it is no fault. */
  remember(id: number): void {
    this.lately ??= new Set()
    this.lately.add(id)
    if (this.lately.size <= maxRemembered) return
    const [oldest] = this.lately
    if (oldest === undefined) return
    this.lately.delete(oldest)
    this.forgotten = Math.max(this.forgotten, oldest)
  }

  /** True if this end has reset a stream lately, or may have done so before it reset thousands of others. */
  mayBeReset(id: number): boolean {
    return id <= this.forgotten || this.lately?.has(id) === true
  }

  private isPeers(id: number): boolean {
    return ((id ^ this.nextOwn) & 1) !== 0
  }
}
