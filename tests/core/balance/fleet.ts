/**
 * A service's servers in memory, and a balanced channel to them: the test says which are listed, and what becomes of each
 * try to connect.
 */
import { Effect, Exit, Queue, Scope, Stream } from "effect"
import { type BalancedOptions, balanced } from "../../../src/core/balance/balancer.ts"
import type { Endpoint } from "../../../src/core/discovery/registry.ts"
import type { CallInfo, Method } from "../../../src/core/rpc/call.ts"
import { type Channel, type Connector, callUnary } from "../../../src/core/rpc/channel.ts"
import { Moving, type State } from "../../../src/core/rpc/connectivity.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { untaken } from "../../../src/core/rpc/untaken.ts"
import { method, settle } from "../support.ts"

/** What a server does with a call; it answers its address by default. */
export type Program = (server: Server, call: CallInfo) => Effect.Effect<unknown, RpcError>

export const unavailable = (message: string): RpcError => new RpcError({ code: "unavailable", message })

/** A subchannel that was opened to a server. */
export class Server implements Connector {
  readonly address: string
  /** How often it was to connect. */
  tries = 0
  /** Calls that it took. */
  taken = 0
  running = 0
  closed = false
  readonly connectivity: Moving
  private readonly program: Program

  constructor(address: string, program: Program, connect: (server: Server) => void) {
    this.address = address
    this.program = program
    this.connectivity = new Moving(() => {
      if (this.connectivity.current !== "idle") return
      this.tries += 1
      connect(this)
    })
  }

  unary(call: CallInfo): Effect.Effect<unknown, RpcError> {
    return Effect.suspend(() => {
      // As a line does: it fails what it can't send.
      if (this.connectivity.current !== "ready") return Effect.fail(untaken(unavailable(`no way to ${this.address}`)))
      this.taken += 1
      this.running += 1
      return Effect.ensuring(
        this.program(this, call),
        Effect.sync(() => {
          this.running -= 1
        }),
      )
    })
  }

  /** Answers each request; a request that isn't one of a stream as often as it is given. */
  stream(call: CallInfo, requests: Stream.Stream<unknown, RpcError>): Stream.Stream<unknown, RpcError> {
    const one = Stream.fromEffect(this.unary(call))
    switch (call.method.kind) {
      case "client_streaming":
        return Stream.concat(Stream.drain(requests), one)
      case "bidi_streaming":
        return Stream.flatMap(one, (address) => Stream.map(requests, () => address))
      default:
        return Stream.flatMap(one, (address) => Stream.make(address, address, address))
    }
  }

  set(...states: ReadonlyArray<State>): Effect.Effect<void> {
    return Effect.andThen(
      Effect.sync(() => {
        for (const state of states) this.connectivity.set(state)
      }),
      settle,
    )
  }
}

export interface FleetOptions extends Partial<Pick<BalancedOptions<RpcError>, "waitForReady" | "grace">> {
  readonly program?: Program
  /** What happens when it is to connect. Default: it is ready. */
  readonly connect?: (server: Server) => void
  /** Endpoints that can't be opened. */
  readonly broken?: ReadonlyArray<string>
  /** The first list. */
  readonly listed?: ReadonlyArray<string>
}

export const succeed = ({ connectivity }: Server): void => {
  connectivity.set("connecting")
  connectivity.set("ready")
}

/** It goes on connecting until the test says what comes of it. */
export const linger = ({ connectivity }: Server): void => connectivity.set("connecting")

const names = (addresses: ReadonlyArray<string>): ReadonlyArray<Endpoint> => addresses.map((address) => ({ address }))

export const fleet = Effect.fnUntraced(function* ({
  program = ({ address }) => Effect.succeed(address),
  connect = succeed,
  broken = [],
  listed,
  ...options
}: FleetOptions = {}) {
  const servers: Array<Server> = []
  const lists = yield* Queue.unbounded<ReadonlyArray<Endpoint> | RpcError>()
  const scope = yield* Effect.acquireRelease(Scope.make(), (made) => Scope.close(made, Exit.void))
  const open = ({ address }: Endpoint) =>
    Effect.gen(function* () {
      if (broken.includes(address)) return yield* Effect.fail({ message: `${address} is broken` })
      const server = new Server(address, program, connect)
      servers.push(server)
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          server.closed = true
          server.connectivity.set("shutdown")
        }),
      )
      return server
    })
  const channel = yield* Scope.provide(
    balanced({ service: "pi", endpoints: Stream.fromQueue(lists), open, ...options }),
    scope,
  )
  const list = (...addresses: ReadonlyArray<string>) => Effect.andThen(Queue.offer(lists, names(addresses)), settle)
  if (listed !== undefined) yield* list(...listed)
  return {
    channel,
    /** All that were opened, in that order. */
    servers,
    /** The one opened last to an address. */
    at: (address: string): Server => {
      const found = servers.findLast((server) => server.address === address)
      if (found === undefined) throw new Error(`nothing was opened to ${address}`)
      return found
    },
    /** These are listed from now on. */
    list,
    /** Nobody knows which they are. */
    fail: (error: RpcError) => Effect.andThen(Queue.offer(lists, error), settle),
    close: Effect.andThen(Scope.close(scope, Exit.void), settle),
  }
})

/** Makes a unary call, of a method that must not run twice. */
export const ask = (channel: Channel, of: Method = method): Effect.Effect<unknown, RpcError> =>
  callUnary(channel, of, "request")

/** Makes so many calls, and counts who answered. */
export const counts = Effect.fnUntraced(function* (channel: Channel, calls: number) {
  const answered = new Map<unknown, number>()
  for (let i = 0; i < calls; i++) {
    const address = yield* ask(channel)
    answered.set(address, (answered.get(address) ?? 0) + 1)
  }
  return answered
})
