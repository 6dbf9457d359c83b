/**
 * The server of Connect, JSON over HTTP and gRPC-Web: which paths are served, and what is the same for all calls of a
 * method.
 *
 * Sources: connectrpc.com/docs/protocol; grpc/doc/PROTOCOL-WEB.md.
 */
import type { DescService } from "@bufbuild/protobuf"
import { type Context, Effect, Stream } from "effect"
import { path } from "../../core/rpc/call.ts"
import * as Monotonic from "../../core/rpc/monotonic.ts"
import { type Handler, type Service, unimplemented } from "../../core/rpc/service.ts"
import type { Exchange, RequestHandler } from "../exchange.ts"
import { mediaType } from "../grpc/codec.ts"
import { contentTypeOf, type Route, routeOf, type Serving, servingIn } from "../grpc/server.ts"
import type { RequestHead } from "../http2/head.ts"
import type { MessageLimits } from "../limits.ts"
import { type DescMethod, protoMethod } from "../method.ts"
import { refuse } from "../refusal.ts"
import type { ConnectCall } from "./call.ts"
import { contentTypeNamed, unaryType } from "./contentType.ts"
import { connectEnd, webEnd } from "./endStream.ts"
import { readQuery } from "./get.ts"
import { type Opening, opened } from "./opening.ts"
import { StreamCall } from "./stream.ts"
import { UnaryCall } from "./unary.ts"

/** A request that no call comes of. */
interface Refusal {
  readonly status: 405 | 415
  readonly allow: ReadonlyArray<string>
}

/** Serves calls of services whose programs find what they need in `context`. */
export class ConnectServer {
  private readonly routes: ReadonlyMap<string, Route>
  private readonly serving: Serving
  // What heads that come again were found to be.
  private readonly known = new WeakMap<RequestHead, Opening>()

  constructor(
    services: ReadonlyArray<Service<DescService, never>>,
    context: Context.Context<never>,
    limits: MessageLimits = {},
  ) {
    this.serving = servingIn(context, limits)
    this.routes = new Map(
      services.flatMap((service) =>
        service.descriptor.methods.map((desc) => {
          const handler = service.handlers.get(desc.name) ?? missing(desc)
          return [path(handler.method), routeOf(service, handler, limits.types)] as const
        }),
      ),
    )
  }

  /** Takes a request, if it is for a service that is served here. */
  accept(exchange: Exchange, head: RequestHead): RequestHandler | undefined {
    const known = this.known.get(head) ?? this.open(head)
    if (known === undefined) return undefined
    if ("status" in known) return refused(exchange, known, this.routeOf(head))
    const now = Monotonic.nowUnsafe(this.serving.clock)
    const call = this.call(known, exchange, now)
    call.begin(now)
    return call
  }

  private call(opening: Opening, exchange: Exchange, now: number): ConnectCall {
    switch (opening.protocol) {
      case "unary":
        return new UnaryCall(this.serving, opening, exchange, now)
      case "stream":
        return new StreamCall(this.serving, opening, exchange, now, connectEnd)
      case "grpc-web":
        return new StreamCall(this.serving, opening, exchange, now, webEnd)
    }
  }

  private routeOf({ path }: RequestHead): Route | undefined {
    const query = path.indexOf("?")
    return this.routes.get(query < 0 ? path : path.slice(0, query))
  }

  private open(head: RequestHead): Opening | Refusal | undefined {
    const route = this.routeOf(head)
    if (route === undefined) return undefined
    const opening = this.openedOn(route, head)
    // Bytes can be written to by the program that gets them, so they aren't shared between calls.
    const shared = Object.isFrozen(head) && !head.fields.some(({ name }) => name.endsWith("-bin"))
    if (shared && "route" in opening) this.known.set(head, opening)
    return opening
  }

  private openedOn(route: Route, head: RequestHead): Opening | Refusal {
    const { method, fields } = head
    const unary = route.desc.methodKind === "unary"
    const allow = unary && route.handler.method.idempotency === "no_side_effects" ? ["POST", "GET"] : ["POST"]
    if (!allow.includes(method)) return { status: 405, allow }
    if (method === "GET") {
      const query = readQuery(head.path)
      if (query.format === undefined) return { status: 415, allow }
      const type = { name: unaryType(query.format), protocol: "unary", format: query.format } as const
      return opened(this.serving, route, type, head, query)
    }
    const type = contentTypeNamed(mediaType(contentTypeOf(fields)))
    if (type === undefined || (type.protocol !== "grpc-web" && (type.protocol === "unary") !== unary)) {
      return { status: 415, allow }
    }
    return opened(this.serving, route, type, head)
  }
}

/** What answers a method that has no program. */
const missing = (desc: DescMethod): Handler<never> => {
  const method = protoMethod(desc)
  const error = unimplemented(path(method))
  return desc.methodKind === "unary"
    ? { method, kind: "unary", run: () => Effect.fail(error) }
    : { method, kind: "bidi_streaming", run: () => Stream.fail(error) }
}

const unaryTypes = "application/json or application/proto"
const streamTypes = "application/connect+json or application/connect+proto, with each message in an envelope"

const refused = (exchange: Exchange, { status, allow }: Refusal, route: Route | undefined): RequestHandler => {
  if (status === 405) {
    // RFC 9110, section 15.5.6.
    const field = { name: "allow", value: allow.join(", ") }
    return refuse(exchange, status, `a call of this method is a ${allow.join(" or a ")}`, [field])
  }
  const types = route?.desc.methodKind === "unary" ? unaryTypes : streamTypes
  return refuse(exchange, status, `a call of this method has the content-type ${types}, or one of gRPC's`)
}
