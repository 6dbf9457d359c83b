/**
 * Watch fan-out: each change of a service's endpoints, times those who are told of it.
 *
 * It is arithmetic on what was measured of etcd, so there is nothing to simulate.
 */
import type { EtcdFigures } from "./etcd.ts"
import { endpoints } from "./population.ts"

/** How clients learn of changes. */
export interface Way {
  readonly name: string
  /** How many messages a client gets for each change of any endpoint. */
  readonly messages: number
  /** Of how many bytes each. */
  readonly bytes: number
}

/** How many services the endpoints are of, where a client watches only one of them. */
export const services = 100

/** How many endpoints a client connects to. */
export const subsetSize = 20

export const ways = ({ list, eventBytes }: EtcdFigures): ReadonlyArray<Way> => [
  { name: "whole list, each time", messages: 1, bytes: list.bytes },
  { name: "the change, one service of 10,000", messages: 1, bytes: eventBytes },
  { name: "the change, 100 services of 100", messages: 1 / services, bytes: eventBytes },
  // Who had the endpoint that leaves is told of another one in its place, and of the first when it is back.
  { name: "the change, to those whose subset has it", messages: subsetSize / endpoints, bytes: 2 * eventBytes },
]

/** Changes a second while all endpoints are restarted, one after another, within so many seconds: each leaves, and comes. */
export const changesOfRestart = (seconds: number): number => (2 * endpoints) / seconds

export interface Need {
  readonly way: string
  readonly clients: number
  readonly messagesPerSecond: number
  readonly bytesPerSecond: number
  /** Cores like this machine's that tell them all. */
  readonly cores: number
}

export const need = (way: Way, clients: number, changes: number, cpuMicros: number): Need => {
  const messagesPerSecond = clients * changes * way.messages
  return {
    way: way.name,
    clients,
    messagesPerSecond,
    bytesPerSecond: messagesPerSecond * way.bytes,
    cores: (messagesPerSecond * cpuMicros) / 1e6,
  }
}
