/**
 * The gRPC server: which paths are served, and what is the same for all calls of a method.
 *
 * Source: grpc/doc/PROTOCOL-HTTP2.md.
 */
import { createRegistry, type DescService, type Registry } from "@bufbuild/protobuf"
import { Clock, Context } from "effect"
import { type Peer, path } from "../../core/rpc/call.ts"
import type { Encoding } from "../../core/rpc/compression.ts"
import type * as Metadata from "../../core/rpc/metadata.ts"
import * as Monotonic from "../../core/rpc/monotonic.ts"
import { type Handler, type Service, unimplemented } from "../../core/rpc/service.ts"
import { detailTypes } from "../details.ts"
import type { Exchange, RequestHandler } from "../exchange.ts"
import { answered, type ServerConnection, type ServerStream } from "../http2/handler.ts"
import type { RequestHead } from "../http2/head.ts"
import type { Field } from "../http2/hpack.ts"
import { defaultMaxReceiveBytes, type MessageLimits } from "../limits.ts"
import { type DescMethod, descriptorOf } from "../method.ts"
import { responded } from "../refusal.ts"
import { codecOf, isGrpc, mediaType } from "./codec.ts"
import { type CallHead, readHead, responseHead, status200 } from "./head.ts"
import type { IncomingOptions } from "./incoming.ts"
import { fromFields } from "./metadata.ts"
import type { OutgoingOptions } from "./outgoing.ts"
import { ServerCall } from "./serverCall.ts"
import { errorTrailers } from "./status.ts"
import { Turn } from "./turn.ts"

/** What all calls of a server share. */
export interface Serving {
  /** What the programs need. */
  readonly context: Context.Context<never>
  readonly clock: Clock.Clock
  readonly turn: Turn
  readonly limits: MessageLimits
}

export const servingIn = (context: Context.Context<never>, limits: MessageLimits): Serving => ({
  // What is added to a context lies upon it in layers, and each call adds some: they begin on flat ground.
  context: Context.makeUnsafe(context.mapUnsafe),
  clock: Context.get(context, Clock.Clock),
  turn: new Turn(),
  limits,
})

/** What all calls of a method share. */
export interface Route {
  readonly handler: Handler<never>
  readonly service: Service<DescService, never>
  readonly desc: DescMethod
  readonly types: Registry
  readonly encodings: ReadonlyArray<Encoding>
  /** What requests may be in. */
  readonly accepted: ReadonlyArray<Encoding>
  readonly minBytes: number
  /** The heads of responses without metadata, by content type and encoding: HPACK knows a list that it saw before. */
  readonly heads: Map<string, ReadonlyArray<Field>>
}

export const routeOf = (
  service: Service<DescService, never>,
  handler: Handler<never>,
  types: Registry | undefined,
): Route => ({
  handler,
  service,
  desc: descriptorOf(handler.method),
  types: detailTypes(service.descriptor.file, types),
  encodings: service.compression?.encodings ?? [],
  accepted: service.compression?.requests ?? [],
  minBytes: service.compression?.minBytes ?? Number.POSITIVE_INFINITY,
  heads: new Map(),
})

/** What the head of a request says of its call: all that can be known of it before its body. */
export interface Opening {
  readonly route: Route
  readonly contentType: string
  readonly head: CallHead
  readonly requests: IncomingOptions
  readonly answers: OutgoingOptions
  readonly metadata: Metadata.Metadata
  /** What begins the response, metadata aside. */
  readonly response: ReadonlyArray<Field>
}

/** A request that no call comes of, and the head that answers it. */
interface Refusal {
  readonly refusal: ReadonlyArray<Field>
}

/** Serves gRPC calls of services whose programs find what they need in `context`. */
export class GrpcServer {
  private readonly routes: ReadonlyMap<string, Route>
  private readonly serving: Serving
  // What heads that come again were found to be.
  private readonly known = new WeakMap<RequestHead, Opening | Refusal>()

  constructor(
    services: ReadonlyArray<Service<DescService, never>>,
    context: Context.Context<never>,
    limits: MessageLimits = {},
  ) {
    this.serving = servingIn(context, limits)
    this.routes = new Map(
      services.flatMap((service) =>
        Array.from(
          service.handlers.values(),
          (handler) => [path(handler.method), routeOf(service, handler, limits.types)] as const,
        ),
      ),
    )
  }

  /** Takes a request, if it is a gRPC call of a service that is served here. */
  accept(connection: ServerConnection, stream: ServerStream, head: RequestHead, peer: Peer): boolean {
    const opening = this.known.get(head) ?? this.open(head)
    if (opening === undefined) return false
    if ("refusal" in opening) refuse(connection, stream, opening.refusal)
    else {
      const now = Monotonic.nowUnsafe(this.serving.clock)
      const call = new ServerCall(this.serving, opening, connection, stream, peer, now)
      stream.context = call
      call.begin(now)
    }
    return true
  }

  private open(head: RequestHead): Opening | Refusal | undefined {
    const route = this.routes.get(head.path)
    const contentType = contentTypeOf(head.fields)
    if (route === undefined || !isGrpc(contentType)) return undefined
    const opening = this.opened(route, contentType, head)
    // Bytes can be written to by the program that gets them, so they aren't shared between calls.
    if (Object.isFrozen(head) && !head.fields.some(({ name }) => name.endsWith("-bin"))) this.known.set(head, opening)
    return opening
  }

  private opened(route: Route, contentType: string, { method, fields }: RequestHead): Opening | Refusal {
    const { limits } = this.serving
    const codec = codecOf(contentType, route.types, limits)
    if (method !== "POST")
      return {
        refusal: [
          { name: ":status", value: "405" },
          { name: "allow", value: "POST" },
        ],
      }
    if (codec === undefined) return { refusal: [{ name: ":status", value: "415" }] }
    const { handler, desc, encodings, accepted, minBytes } = route
    const { maxReceiveBytes = defaultMaxReceiveBytes, maxSendBytes = 0xffff_ffff } = limits
    const head = readHead(fields, encodings, accepted)
    const streaming = handler.kind === "client_streaming" || handler.kind === "bidi_streaming"
    return {
      route,
      contentType,
      head,
      requests: {
        desc: desc.input,
        codec,
        encoding: head.received,
        maxBytes: maxReceiveBytes,
        streaming,
        what: "request",
      },
      answers: { desc: desc.output, codec, encoding: head.sent, minBytes, maxBytes: maxSendBytes, what: "answer" },
      metadata: fromFields(fields),
      response: responseHead(route.heads, contentType, head.sent, accepted),
    }
  }
}

const noTypes = createRegistry()
const longestPath = 256

/** Responds to a request for a service that nobody serves, as gRPC and gRPC-Web alike say it. */
export const unserved = (exchange: Exchange, contentType: string, { path }: RequestHead): RequestHandler => {
  // A path costs a client one byte once HPACK knows it, and the response has it in full.
  const trailers = errorTrailers(unimplemented(path.slice(0, longestPath)), noTypes)
  exchange.sendHeaders([status200, { name: "content-type", value: contentType }, ...trailers], true)
  return responded(exchange)
}

export const contentTypeOf = (fields: ReadonlyArray<Field>): string =>
  mediaType(fields.find(({ name }) => name === "content-type")?.value ?? "")

const refuse = (connection: ServerConnection, stream: ServerStream, fields: ReadonlyArray<Field>): void => {
  stream.context = answered(connection, stream)
  connection.sendHeaders(stream, fields, true)
}
