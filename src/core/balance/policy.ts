/**
 * A policy: which of a service's endpoints are connected to, and which of them a call goes to.
 *
 * Source: grpc/doc/load-balancing.md, "Load Balancing Policies".
 */
import type { CallInfo } from "../rpc/call.ts"
import type { Subchannel } from "./subchannel.ts"

export interface Policy {
  /**
   * Told whenever the subchannels are others, or stand otherwise. It connects those that it wants connected, and gives those
   * of `ready`, which take calls, that it picks from. `wanted` is true from when a call had to wait until one is ready.
   */
  readonly update: (
    all: ReadonlyArray<Subchannel>,
    ready: ReadonlyArray<Subchannel>,
    wanted: boolean,
  ) => ReadonlyArray<Subchannel>
  /** Picks one for a call. There is at least one. */
  readonly pick: (call: CallInfo, ready: ReadonlyArray<Subchannel>) => Subchannel
}

/** Makes a policy for one channel, which draws from 0 up to 1. */
export type PolicyOf = (random: () => number) => Policy

/** Connects all subchannels, again when they are idle, and picks from all that are ready. */
export const connectAll: Policy["update"] = (all, ready) => {
  for (const one of all) one.connect()
  return ready
}

/** One of several, each as likely as the others. */
export const anyOf = <A>(several: ReadonlyArray<A>, random: () => number): A =>
  // What is drawn is less than 1, and there is one at least.
  several[Math.floor(random() * several.length)] as A
