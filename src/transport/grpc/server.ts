/**
 * The gRPC server: which paths are served, and what is the same for all calls of a method.
 *
 * Source: grpc/doc/PROTOCOL-HTTP2.md.
 */
import { createRegistry, type DescService, type Registry } from "@bufbuild/protobuf"
import { Clock, Context } from "effect"
import { type Peer, path } from "../../core/rpc/call.ts"
import type { Encoding } from "../../core/rpc/compression.ts"
import { type Handler, type Service, unimplemented } from "../../core/rpc/service.ts"
import { detailTypes } from "../details.ts"
import { answered, type ServerConnection, type ServerStream } from "../http2/handler.ts"
import type { RequestHead } from "../http2/head.ts"
import type { Field } from "../http2/hpack.ts"
import { defaultMaxReceiveBytes, type MessageLimits } from "../limits.ts"
import { type DescMethod, descriptorOf } from "../method.ts"
import { ServerCall } from "./call.ts"
import { codecOf } from "./codec.ts"
import { status200 } from "./head.ts"
import { errorTrailers } from "./status.ts"

/** What all calls of a server share. */
export interface Serving {
  /** What the programs need. */
  readonly context: Context.Context<never>
  readonly clock: Clock.Clock
  readonly maxReceiveBytes: number
  readonly maxSendBytes: number
}

/** What all calls of a method share. */
export interface Route {
  readonly handler: Handler<never>
  readonly service: Service<DescService, never>
  readonly desc: DescMethod
  readonly types: Registry
  readonly encodings: ReadonlyArray<Encoding>
  readonly minBytes: number
  /** The heads of responses without metadata, by content type and encoding: HPACK knows a list that it saw before. */
  readonly heads: Map<string, ReadonlyArray<Field>>
}

const route = (service: Service<DescService, never>, handler: Handler<never>): Route => ({
  handler,
  service,
  desc: descriptorOf(handler.method),
  types: detailTypes(service.descriptor.file),
  encodings: service.compression?.encodings ?? [],
  minBytes: service.compression?.minBytes ?? Number.POSITIVE_INFINITY,
  heads: new Map(),
})

const noTypes = createRegistry()

const refuse = (connection: ServerConnection, stream: ServerStream, fields: ReadonlyArray<Field>): void => {
  stream.context = answered(connection, stream)
  connection.sendHeaders(stream, fields, true)
}

/** Serves gRPC calls of services whose programs find what they need in `context`. */
export class GrpcServer {
  private readonly routes: ReadonlyMap<string, Route>
  private readonly serving: Serving

  constructor(
    services: ReadonlyArray<Service<DescService, never>>,
    context: Context.Context<never>,
    { maxReceiveBytes = defaultMaxReceiveBytes, maxSendBytes = 0xffff_ffff }: MessageLimits = {},
  ) {
    this.serving = { context, clock: Context.get(context, Clock.Clock), maxReceiveBytes, maxSendBytes }
    this.routes = new Map(
      services.flatMap((service) =>
        Array.from(service.handlers.values(), (handler) => [path(handler.method), route(service, handler)] as const),
      ),
    )
  }

  /** True for a request that speaks gRPC, or gRPC-Web. */
  static speaks(head: RequestHead): boolean {
    return contentTypeOf(head).startsWith("application/grpc")
  }

  /** True for a gRPC call of a service that is served here. */
  takes(head: RequestHead, path: string): boolean {
    const contentType = contentTypeOf(head)
    return (
      contentType.startsWith("application/grpc") &&
      !contentType.startsWith("application/grpc-web") &&
      this.routes.has(path)
    )
  }

  /** Begins the call of a request that speaks gRPC. */
  accept(connection: ServerConnection, stream: ServerStream, head: RequestHead, peer: Peer): void {
    const contentType = contentTypeOf(head)
    const found = this.routes.get(head.path)
    const codec = codecOf(contentType, found?.types ?? noTypes)
    if (head.method !== "POST")
      refuse(connection, stream, [
        { name: ":status", value: "405" },
        { name: "allow", value: "POST" },
      ])
    else if (found === undefined) {
      const trailers = errorTrailers(unimplemented(head.path), noTypes)
      refuse(connection, stream, [status200, { name: "content-type", value: contentType }, ...trailers])
    } else if (codec === undefined) refuse(connection, stream, [{ name: ":status", value: "415" }])
    else {
      const call = new ServerCall(this.serving, found, codec, contentType, connection, stream, head, peer)
      stream.context = call
      call.begin()
    }
  }
}

const contentTypeOf = ({ fields }: RequestHead): string =>
  fields.find(({ name }) => name === "content-type")?.value ?? ""
