/**
 * gRPC over HTTP/1.1 is refused: it needs HTTP/2, whose trailers have its status.
 *
 * Source: grpc/doc/PROTOCOL-HTTP2.md.
 */
import type { Exchange, RequestHandler } from "../exchange.ts"
import type { RequestHead } from "../http2/head.ts"
import { refuse } from "../refusal.ts"
import { isGrpc } from "./codec.ts"

/** Refuses a request that speaks gRPC; gives `undefined` for others. */
export const refuseGrpc = (exchange: Exchange, { fields }: RequestHead): RequestHandler | undefined =>
  isGrpc(fields.find(({ name }) => name === "content-type")?.value ?? "")
    ? refuse(exchange, 505, "gRPC needs HTTP/2; over HTTP/1.1 there are gRPC-Web and Connect")
    : undefined
