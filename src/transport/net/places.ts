/**
 * Places: how many connections there may be, in all and from one address.
 */
export class Places {
  private readonly most: number
  private readonly mostPerPeer: number
  private taken = 0
  // Those of addresses that have connections.
  private readonly peers = new Map<string, number>()

  /** `peerShare` is the share of all places that one address may have, from 0 to 1; one place in any case. */
  constructor(most: number, peerShare: number) {
    this.most = most
    this.mostPerPeer = Math.max(1, Math.floor(most * peerShare))
  }

  /** Takes a place for a connection from an address without its port. False if there is none. */
  take(address: string): boolean {
    const its = this.peers.get(address) ?? 0
    if (this.taken >= this.most || its >= this.mostPerPeer) return false
    this.taken += 1
    this.peers.set(address, its + 1)
    return true
  }

  /** Gives it back. */
  give(address: string): void {
    this.taken -= 1
    const left = (this.peers.get(address) ?? 1) - 1
    if (left > 0) this.peers.set(address, left)
    else this.peers.delete(address)
  }
}
