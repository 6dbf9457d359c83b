/**
 * What the head of a request says of its call: all that can be known of it before its body, once for all requests that
 * have the same head.
 */
import { RpcError } from "../../core/rpc/error.ts"
import type * as Metadata from "../../core/rpc/metadata.ts"
import type { Codec } from "../grpc/codec.ts"
import { acceptEncoding, type CallHead, grpcNames, type HeadNames, readHead, responseHead } from "../grpc/head.ts"
import type { IncomingOptions } from "../grpc/incoming.ts"
import type { OutgoingOptions } from "../grpc/outgoing.ts"
import type { Route, Serving } from "../grpc/server.ts"
import type { RequestHead } from "../http2/head.ts"
import type { Field } from "../http2/hpack.ts"
import { defaultMaxReceiveBytes } from "../limits.ts"
import { type ContentType, codecIn, type Protocol } from "./contentType.ts"
import { blaming, explaining } from "./fault.ts"
import type { Query } from "./get.ts"
import { requestMetadata } from "./metadata.ts"
import { streamNames, unaryNames } from "./names.ts"

export interface Opening {
  readonly route: Route
  readonly protocol: Protocol
  readonly timeout: number | undefined
  /** Why the call can't be served. */
  readonly error: RpcError | undefined
  readonly metadata: Metadata.Metadata
  readonly requests: IncomingOptions
  readonly answers: OutgoingOptions
  /** What begins the response, metadata aside. */
  readonly response: ReadonlyArray<Field>
  /** Of it, what tells the client which encodings are taken. */
  readonly accepted: ReadonlyArray<Field>
  /** What a GET has in place of a body. */
  readonly query: Query | undefined
}

const namesOf: Readonly<Record<Protocol, HeadNames>> = {
  unary: unaryNames,
  stream: streamNames,
  "grpc-web": grpcNames,
}

const version = ({ fields }: RequestHead): RpcError | undefined => {
  const said = fields.find(({ name }) => name === "connect-protocol-version")?.value
  return said === undefined || said === "1"
    ? undefined
    : new RpcError({ code: "invalid_argument", message: "connect-protocol-version is another than 1: set it to 1" })
}

const tooLong = ({ contentLength }: RequestHead, maxBytes: number): RpcError | undefined =>
  contentLength > maxBytes ? overLimit(contentLength, maxBytes) : undefined

/** The error of a message that is longer than it may be. */
export const overLimit = (length: number, maxBytes: number): RpcError =>
  new RpcError({
    code: "resource_exhausted",
    message: `a message of ${length} bytes is over the limit of ${maxBytes}`,
  })

/** The codec and the encoding of messages, whose errors are as the protocol has them. */
const reading = (protocol: Protocol, codec: Codec, { received }: CallHead) =>
  protocol === "grpc-web"
    ? { codec, encoding: received }
    : { codec: explaining(codec), encoding: received === undefined ? undefined : blaming(received) }

export const opened = (
  { limits }: Serving,
  route: Route,
  { name: contentType, protocol, format }: ContentType,
  request: RequestHead,
  query?: Query,
): Opening => {
  const { handler, desc, encodings, accepted, minBytes, types, heads } = route
  const { maxReceiveBytes = defaultMaxReceiveBytes, maxSendBytes = 0xffff_ffff } = limits
  const names = namesOf[protocol]
  // A GET says in its query what its message is compressed with.
  const fields =
    query?.compression === undefined
      ? request.fields
      : [...request.fields, { name: names.encoding, value: query.compression }]
  const head = readHead(fields, encodings, accepted, names)
  const codec = codecIn(format, types, limits)
  const whole = protocol === "unary" ? tooLong(request, maxReceiveBytes) : undefined
  return {
    route,
    protocol,
    timeout: head.timeout,
    error: head.error ?? (protocol === "grpc-web" ? undefined : version(request)) ?? whole,
    metadata: requestMetadata(request.fields),
    requests: {
      desc: desc.input,
      ...reading(protocol, codec, head),
      maxBytes: maxReceiveBytes,
      streaming: handler.kind === "client_streaming" || handler.kind === "bidi_streaming",
      what: "request",
    },
    answers: { desc: desc.output, codec, encoding: head.sent, minBytes, maxBytes: maxSendBytes, what: "answer" },
    // Whether a unary response is compressed is not known before it is there.
    response: responseHead(heads, contentType, protocol === "unary" ? undefined : head.sent, accepted, names),
    accepted: acceptEncoding(accepted, names),
    query,
  }
}
