/**
 * The gRPC client: what is the same for all calls of a method, and how a call becomes an Effect or a Stream.
 *
 * Source: grpc/doc/PROTOCOL-HTTP2.md.
 */
import type { Registry } from "@bufbuild/protobuf"
import { Cause, Clock, Effect, Option, type Scope, Stream } from "effect"
import { type CallInfo, type Method, path } from "../../core/rpc/call.ts"
import { type Connector, only } from "../../core/rpc/channel.ts"
import type { Compression, Encoding } from "../../core/rpc/compression.ts"
import type { Connectivity } from "../../core/rpc/connectivity.ts"
import { RpcError } from "../../core/rpc/error.ts"
import { Expiry } from "../../core/rpc/expiry.ts"
import * as Metadata from "../../core/rpc/metadata.ts"
import * as Monotonic from "../../core/rpc/monotonic.ts"
import { detailTypes } from "../details.ts"
import type { Opener, Origin } from "../http2/client.ts"
import type { Field } from "../http2/hpack.ts"
import { defaultMaxReceiveBytes, type MessageLimits } from "../limits.ts"
import { descriptorOf } from "../method.ts"
import { version } from "../version.ts"
import { ClientCall } from "./clientCall.ts"
import { codecOf } from "./codec.ts"
import { type Accepted, acceptEncoding } from "./head.ts"
import type { Incoming, IncomingOptions } from "./incoming.ts"
import { toFields } from "./metadata.ts"
import { Outgoing, type OutgoingOptions, type Sink } from "./outgoing.ts"
import { formatTimeout } from "./timeout.ts"

/** What all calls of a channel share. */
export interface Calling {
  readonly opener: Opener
  readonly waitForReady: boolean
  readonly now: () => number
  readonly expiry: Expiry
  /** What a call's request begins with. */
  readonly fields: (plan: Plan, info: CallInfo, origin: Origin) => ReadonlyArray<Field>
}

/** What all calls of a method share. */
export interface Plan {
  readonly path: string
  /** As errors name it: the path without its slash. */
  readonly method: string
  readonly contentType: string
  readonly types: Registry
  readonly accepted: Accepted
  readonly outgoing: OutgoingOptions
  /** Encodes requests that are sent whole. */
  readonly encoder: Outgoing
  readonly incoming: (encoding: Encoding | undefined) => IncomingOptions
  /** What heads consist of but for the deadline, by origin and metadata: HPACK knows a list that it saw before. */
  readonly heads: WeakMap<Origin, WeakMap<Metadata.Metadata, Head>>
}

/** A list of fields, which is frozen when it comes again: HPACK counts on it then, and metadata may be each call's own. */
class Head {
  private readonly list: ReadonlyArray<Field>
  private used = false
  private again = false
  private timed: Head | undefined
  private timeout = -1

  constructor(list: ReadonlyArray<Field>) {
    this.list = list
  }

  get fields(): ReadonlyArray<Field> {
    if (this.used && !this.again) {
      this.again = true
      Object.freeze(this.list)
    }
    this.used = true
    return this.list
  }

  /** The same with a deadline this many whole milliseconds away, which most calls of a channel have in common. */
  within(millis: number): ReadonlyArray<Field> {
    if (this.timed === undefined || this.timeout !== millis) {
      this.timeout = millis
      this.timed = new Head([...this.list, { name: "grpc-timeout", value: formatTimeout(millis) }])
    }
    return this.timed.fields
  }
}

export interface ClientOptions extends MessageLimits {
  readonly codec: "proto" | "json"
  readonly waitForReady: boolean
  readonly connectivity: Connectivity
}

// What answers may be called; requests have the suffix.
const contentTypes: Readonly<Record<ClientOptions["codec"], ReadonlySet<string>>> = {
  proto: new Set(["application/grpc", "application/grpc+proto"]),
  json: new Set(["application/grpc+json"]),
}
const userAgent = `grpc-typescript-basel/${version}`

// Of an encoder nothing is sent.
const nowhere: Sink = { send: () => true }

/** What carries the calls of a channel over HTTP/2, as long as its scope is open. */
export const make = Effect.fnUntraced(function* (
  opener: Opener,
  options: ClientOptions,
): Effect.fn.Return<Connector, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const expiry = yield* Effect.acquireRelease(
    Effect.sync(() => new Expiry(clock, run)),
    (opened) => Effect.sync(() => opened.close()),
  )
  return new GrpcClient(opener, options, clock, expiry)
})

class GrpcClient implements Connector {
  readonly connectivity: Connectivity
  private readonly options: ClientOptions
  private readonly calling: Calling
  // A channel's layers are put on once, so there are as many as compressions in use: one or two.
  private readonly plans = new Map<Compression | undefined, WeakMap<Method, Plan>>()

  constructor(opener: Opener, options: ClientOptions, clock: Clock.Clock, expiry: Expiry) {
    this.connectivity = options.connectivity
    this.options = options
    this.calling = {
      opener,
      waitForReady: options.waitForReady,
      now: () => Monotonic.nowUnsafe(clock),
      expiry,
      fields: (plan, info, origin) => this.fields(plan, info, origin),
    }
  }

  unary(info: CallInfo, request: unknown, { compression }: { readonly compression: Compression | undefined }) {
    const plan = this.plan(info.method, compression)
    return Effect.flatMapEager(plan.encoder.encode(request), (bytes) =>
      Effect.callback<unknown, RpcError>((resume) => {
        let answers: Incoming | undefined
        const call = new ClientCall(this.calling, plan, info, {
          begun: (incoming) => {
            answers = incoming
          },
          drained: () => {},
          ended: (error) => {
            if (error !== undefined) resume(Effect.fail(error))
            else if (answers !== undefined) resume(answers.one)
          },
        })
        call.beginWith(bytes)
        return Effect.sync(() => call.cancel())
      }),
    )
  }

  stream(
    info: CallInfo,
    requests: Stream.Stream<unknown, RpcError>,
    { compression }: { readonly compression: Compression | undefined },
  ): Stream.Stream<unknown, RpcError> {
    const plan = this.plan(info.method, compression)
    return Stream.unwrap(
      Effect.gen({ self: this }, function* () {
        const making = new Making(this.calling, plan, info)
        yield* Effect.addFinalizer(() => Effect.sync(() => making.call.cancel()))
        if (info.method.kind === "server_streaming") {
          making.call.beginWith(yield* Effect.flatMap(only(requests, info.method), (one) => plan.encoder.encode(one)))
        } else {
          making.call.begin()
          yield* Effect.forkScoped(making.send(requests))
        }
        return (yield* making.answers).stream
      }),
    )
  }

  private plan(method: Method, compression: Compression | undefined): Plan {
    let plans = this.plans.get(compression)
    if (plans === undefined) {
      plans = new WeakMap()
      this.plans.set(compression, plans)
    }
    let plan = plans.get(method)
    if (plan === undefined) {
      plan = planOf(method, compression, this.options)
      plans.set(method, plan)
    }
    return plan
  }

  private fields(plan: Plan, { metadata, deadline }: CallInfo, origin: Origin): ReadonlyArray<Field> {
    let heads = plan.heads.get(origin)
    if (heads === undefined) {
      heads = new WeakMap()
      plan.heads.set(origin, heads)
    }
    let head = heads.get(metadata)
    if (head === undefined) {
      head = new Head(headOf(plan, metadata, origin))
      heads.set(metadata, head)
    }
    return deadline === undefined ? head.fields : head.within(Math.max(0, Math.ceil(deadline - this.calling.now())))
  }
}

const planOf = (method: Method, compression: Compression | undefined, options: ClientOptions): Plan => {
  const { codec: format, maxReceiveBytes = defaultMaxReceiveBytes, maxSendBytes = 0xffff_ffff } = options
  const contentType = `application/grpc+${format}`
  const desc = descriptorOf(method)
  const types = detailTypes(desc.parent.file, options.types)
  const codec = codecOf(contentType, types, options)
  if (codec === undefined) throw new Error(`there is no codec for ${contentType}`)
  const encodings = compression?.encodings ?? []
  const outgoing: OutgoingOptions = {
    desc: desc.input,
    codec,
    encoding: encodings[0],
    minBytes: compression?.minBytes ?? Number.POSITIVE_INFINITY,
    maxBytes: maxSendBytes,
    what: "request",
  }
  const incoming: IncomingOptions = {
    desc: desc.output,
    codec,
    encoding: undefined,
    maxBytes: maxReceiveBytes,
    streaming: method.kind !== "unary",
    what: "answer",
  }
  return {
    path: path(method),
    method: path(method).slice(1),
    types,
    contentType,
    accepted: { encodings, contentTypes: contentTypes[format] },
    outgoing,
    encoder: new Outgoing(outgoing, nowhere),
    incoming: (encoding) => (encoding === undefined ? incoming : { ...incoming, encoding }),
    heads: new WeakMap(),
  }
}

const headOf = (
  { path, contentType, outgoing, accepted }: Plan,
  metadata: Metadata.Metadata,
  { scheme, authority }: Origin,
): ReadonlyArray<Field> => [
  { name: ":method", value: "POST" },
  { name: ":scheme", value: scheme },
  { name: ":path", value: path },
  { name: ":authority", value: authority },
  { name: "te", value: "trailers" },
  { name: "content-type", value: contentType },
  { name: "user-agent", value: userAgentOf(metadata) },
  ...(outgoing.encoding === undefined ? [] : [{ name: "grpc-encoding", value: outgoing.encoding.name }]),
  ...acceptEncoding(accepted.encodings),
  ...toFields(metadata.filter(([name]) => name !== "user-agent")),
]

/** The application, if its metadata names it, and after it the library. */
const userAgentOf = (metadata: Metadata.Metadata): string => {
  const application = Metadata.getText(metadata, "user-agent")
  return application === undefined ? userAgent : `${application} ${userAgent}`
}

/** The error of a call whose requests met a defect on their way: the program's own stream tells its defects itself. */
const unsent = (cause: unknown): RpcError =>
  new RpcError({ code: "internal", message: "the requests could not be sent, for a defect: see the cause", cause })

/** A call with streams, while it is made. */
class Making {
  readonly call: ClientCall
  private readonly outgoing: Outgoing
  private incoming: Incoming | undefined
  private failed: RpcError | undefined
  private resume: ((answers: Effect.Effect<Incoming, RpcError>) => void) | undefined

  constructor(calling: Calling, plan: Plan, info: CallInfo) {
    this.call = new ClientCall(calling, plan, info, this)
    this.outgoing = new Outgoing(plan.outgoing, this.call)
  }

  /** Sends requests as fast as the server takes them. What is wrong with them ends the call. */
  send(requests: Stream.Stream<unknown, RpcError>): Effect.Effect<void> {
    return Stream.runForEachArray(requests, (some) => this.outgoing.emit(some)).pipe(
      Effect.matchCause({
        onFailure: (cause) => {
          const error = Cause.findErrorOption(cause)
          this.call.fail(Option.getOrElse(error, () => unsent(Cause.squash(cause))))
        },
        onSuccess: () => this.call.sendEnd(),
      }),
    )
  }

  /** The answers, once the server has begun with them. */
  get answers(): Effect.Effect<Incoming, RpcError> {
    return Effect.callback((resume) => {
      if (this.incoming !== undefined) resume(Effect.succeed(this.incoming))
      else if (this.failed !== undefined) resume(Effect.fail(this.failed))
      else this.resume = resume
    })
  }

  begun(answers: Incoming): void {
    this.incoming = answers
    this.resume?.(Effect.succeed(answers))
  }

  drained(): void {
    this.outgoing.drained()
  }

  ended(error: RpcError | undefined): void {
    if (error === undefined) return
    this.failed = error
    if (this.incoming === undefined) this.resume?.(Effect.fail(error))
    else this.incoming.fail(error)
  }
}
