/**
 * The connections to Redis: one to a server, or one to each master of a cluster. They connect by themselves, and again
 * whenever one is lost.
 */
import { createClient, createCluster, RESP_TYPES } from "@redis/client"
import { type ClientTlsOptions, nameOf, toClientOptions } from "../net/tls.ts"
import type { Address, Host } from "./address.ts"

export type { Host }

/** What a command is made of. */
export type Arguments = ReadonlyArray<string | Buffer>

const typeMapping = { [RESP_TYPES.BLOB_STRING]: Buffer }

type Client = ReturnType<typeof makeClient>

/** One server. */
export interface Node {
  readonly host: Host
  /** Another one after each connection. */
  readonly epoch: number
  readonly send: (args: Arguments, signal: AbortSignal) => Promise<unknown>
}

export interface Events {
  /** A connection is there, or it is known who the masters of a cluster are. */
  readonly ready: (host: Host | undefined) => void
  /** A connection was lost, or couldn't be made. What was sent on it and not answered fails after that, in the same turn. */
  readonly failed: (error: unknown) => void
}

export interface Link {
  /** Sends a command that concerns one key to where that is. A promise rejected with no error of Redis leaves open what happened. */
  readonly send: (key: string, args: Arguments, signal: AbortSignal) => Promise<unknown>
  /** The masters. */
  readonly nodes: () => Promise<ReadonlyArray<Node>>
  /** A connection for subscriptions to one server, which isn't made again when it is lost. */
  readonly subscriber: (host: Host) => Client
  /** Gives the connections up and makes new ones: what was a master isn't one any more. */
  readonly renew: () => void
  readonly close: () => void
}

export interface LinkOptions {
  readonly tls: ClientTlsOptions | undefined
  readonly maxPending: number
  readonly connectTimeout: number
}

// A server that is asked every 2 seconds and says nothing for 5 isn't there any more, or hangs: its connection is given up.
const pingInterval = 2000
const silence = 5000

// How long the nodes of a cluster aren't asked again who is master of what.
const lookInterval = 300

// 50 ms and twice as much each time, 1 s at most; half of it at random, so that not all come back at once.
const backoff = (retries: number): number => Math.min(1000, 50 * 2 ** Math.min(retries, 8)) * (0.5 + Math.random() / 2)

const common = ({ username, password, encrypted }: Address, { tls, maxPending, connectTimeout }: LinkOptions) => ({
  ...(username === undefined ? {} : { username }),
  ...(password === undefined ? {} : { password }),
  socket: {
    ...(encrypted ? { ...toClientOptions(tls), ALPNProtocols: [], tls: true as const } : {}),
    connectTimeout,
    socketTimeout: silence,
    reconnectStrategy: backoff as false | typeof backoff,
  },
  pingInterval,
  // Who waits for a connection waits with us, so that it is known of each command whether it was sent.
  disableOfflineQueue: true,
  // With room for what was given up after it was sent, and for what nobody called for.
  commandsQueueMaxLength: 2 * maxPending + 100,
  // A timer for each command otherwise.
  commandOptions: { timeout: 0 },
  // Otherwise it reads the environment, for which Deno asks.
  maintNotifications: "disabled" as const,
})

const makeClient = (address: Address, { host, port }: Host, options: LinkOptions, reconnects: boolean) => {
  const shared = common(address, options)
  const reconnectStrategy = reconnects ? shared.socket.reconnectStrategy : false
  const socket = { ...(address.encrypted && nameOf(host)), ...shared.socket, host, port, reconnectStrategy }
  return createClient({ ...shared, socket, database: address.database })
}

/** Closes a client, also one that is just connecting: that one would go on to connect. */
export const destroy = (client: Pick<Client, "on" | "destroy">): void => {
  client.on("connect", () => client.destroy())
  client.destroy()
}

export const link = (address: Address, options: LinkOptions, events: Events): Link => {
  const subscriber = (host: Host) => makeClient(address, host, options, false)
  return address.cluster ? cluster(address, options, events, subscriber) : server(address, options, events, subscriber)
}

const server = (address: Address, options: LinkOptions, events: Events, subscriber: Link["subscriber"]): Link => {
  const [host] = address.hosts
  let epoch = 0
  const open = () => {
    const opened = makeClient(address, host, options, true)
    opened.on("error", events.failed).on("ready", () => {
      epoch += 1
      events.ready(host)
    })
    // It never gives up, so it fails only when it is closed.
    opened.connect().catch(() => undefined)
    return opened
  }
  let client = open()
  const node: Node = {
    host,
    get epoch() {
      return epoch
    },
    send: (args, abortSignal) => client.sendCommand(args, { abortSignal, typeMapping }),
  }
  return {
    send: (_key, args, signal) => node.send(args, signal),
    nodes: () => Promise.resolve([node]),
    subscriber,
    renew: () => {
      const old = client
      client = open()
      // What was sent on it is still answered.
      old.close().catch(() => undefined)
    },
    close: () => destroy(client),
  }
}

const cluster = (address: Address, options: LinkOptions, events: Events, subscriber: Link["subscriber"]): Link => {
  const client = createCluster({
    rootNodes: address.hosts.map(({ host, port }) => ({ socket: { host, port } })),
    defaults: common(address, options),
    // Otherwise nothing works until each of the masters is there.
    minimizeConnections: true,
    topologyRefreshOnReconnectionAttemptStrategy: false,
    commandOptions: { timeout: 0 },
  })
  let closed = false
  let looking = false
  let timer: ReturnType<typeof setTimeout> | undefined
  // Who is master of what is asked again whenever one of them can't be reached: another may have taken its place.
  const look = () => {
    if (closed || looking) return
    looking = true
    const found = client.isReady ? client._slots.rediscover() : client.connect()
    found.then(
      () => rest(true),
      (error: unknown) => {
        events.failed(error)
        rest(false)
      },
    )
  }
  const rest = (found: boolean) => {
    if (closed) return
    const again = () => {
      looking = false
      if (!found) look()
    }
    timer = setTimeout(again, lookInterval)
  }
  const lost = (error: unknown) => {
    events.failed(error)
    if (client.isReady) look()
  }
  client.on("error", events.failed).on("node-error", lost)
  client.on("connect", () => events.ready(undefined)).on("node-ready", events.ready)
  look()
  return {
    send: (key, args, abortSignal) => client.sendCommand(key, false, [...args], { abortSignal, typeMapping }),
    nodes: () =>
      Promise.all(
        client.masters.map(async (master): Promise<Node> => {
          const connected = await client.nodeClient(master)
          return {
            host: { host: master.host, port: master.port },
            get epoch() {
              return connected.socketEpoch
            },
            send: (args, abortSignal) => connected.sendCommand(args, { abortSignal, typeMapping }),
          }
        }),
      ),
    subscriber,
    renew: look,
    close: () => {
      closed = true
      clearTimeout(timer)
      const connecting = client.masters.map((master) => master.client)
      client.destroy()
      for (const one of connecting) if (one !== undefined) destroy(one)
    },
  }
}
