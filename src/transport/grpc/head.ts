/**
 * The heads of a call: what a request's fields say about it, and the fields that begin its response.
 *
 * Source: grpc/doc/PROTOCOL-HTTP2.md, "Request-Headers" and "Response-Headers"; grpc/doc/compression.md.
 */
import type { Encoding } from "../../core/rpc/compression.ts"
import { RpcError } from "../../core/rpc/error.ts"
import type * as Metadata from "../../core/rpc/metadata.ts"
import * as Status from "../../core/rpc/status.ts"
import type { ResponseHead } from "../http2/head.ts"
import type { Field } from "../http2/hpack.ts"
import { isGrpc, mediaType } from "./codec.ts"
import { fromFields } from "./metadata.ts"
import { parseTimeout } from "./timeout.ts"

export const status200: Field = Object.freeze({ name: ":status", value: "200" })

/** What the fields of a head are called that say how a call goes. Connect and gRPC-Web mean the same by their own. */
export interface HeadNames {
  readonly timeout: string
  /** A timeout in milliseconds; `undefined` if the text is none. */
  readonly parseTimeout: (text: string) => number | undefined
  readonly encoding: string
  readonly acceptEncoding: string
}

export const grpcNames: HeadNames = {
  timeout: "grpc-timeout",
  parseTimeout,
  encoding: "grpc-encoding",
  acceptEncoding: "grpc-accept-encoding",
}

/** What the head of a request says. */
export interface CallHead {
  /** Milliseconds until the deadline; `undefined` for none. */
  readonly timeout: number | undefined
  /** What requests are compressed with; `undefined` for not at all. */
  readonly received: Encoding | undefined
  /** What answers may be compressed with. */
  readonly sent: Encoding | undefined
  /** Why the call can't be served. */
  readonly error: RpcError | undefined
}

// A list of more is a list of commas.
const mostNames = 16

// HTTP's own Accept-Encoding gives names a weight, of which only that of none counts here (RFC 9110, section 12.5.3).
const refused = /;\s*q=0(\.0*)?\s*$/

const namesIn = (list: string): ReadonlyArray<string> =>
  list
    .split(",", mostNames)
    .filter((name) => !refused.test(name))
    .map((name) => (name.split(";", 1)[0] ?? "").trim())

/** `requests` are the encodings that requests may be in, `encodings` those that responses may be in. */
export const readHead = (
  fields: ReadonlyArray<Field>,
  encodings: ReadonlyArray<Encoding>,
  requests = encodings,
  names: HeadNames = grpcNames,
): CallHead => {
  let timeout: number | undefined
  let encoding: string | undefined
  let accepted: string | undefined
  let error: RpcError | undefined
  for (const { name, value } of fields) {
    if (name === names.timeout) {
      timeout = names.parseTimeout(value)
      if (timeout === undefined) {
        error = new RpcError({ code: "invalid_argument", message: `protocol error: invalid ${names.timeout}` })
      }
    } else if (name === names.encoding) encoding = value === "identity" ? undefined : value
    else if (name === names.acceptEncoding) accepted = value
  }
  const received = encoding === undefined ? undefined : requests.find(({ name }) => name === encoding)
  if (encoding !== undefined && received === undefined) {
    error = new RpcError({
      code: "unimplemented",
      message: `unknown compression: the server takes ${["identity", ...requests.map(({ name }) => name)].join(", ")}`,
    })
  }
  // Who compresses and doesn't say what it takes, takes what it sends.
  const acceptable = accepted === undefined ? [] : namesIn(accepted)
  const usual = encodings.find(({ name }) => name === received?.name)
  const sent = accepted === undefined ? usual : encodings.find(({ name }) => acceptable.includes(name))
  return { timeout, received, sent, error }
}

/** The fields that begin a response, always the same list for the same arguments while `known` is. */
export const responseHead = (
  known: Map<string, ReadonlyArray<Field>>,
  contentType: string,
  sent: Encoding | undefined,
  encodings: ReadonlyArray<Encoding>,
  names: HeadNames = grpcNames,
): ReadonlyArray<Field> => {
  const key = `${contentType} ${sent?.name}`
  let fields = known.get(key)
  if (fields === undefined) {
    fields = Object.freeze([
      status200,
      { name: "content-type", value: contentType },
      ...(sent === undefined ? [] : [{ name: names.encoding, value: sent.name }]),
      ...acceptEncoding(encodings, names),
    ])
    known.set(key, fields)
  }
  return fields
}

/** What tells the peer which encodings are taken here. */
export const acceptEncoding = (
  encodings: ReadonlyArray<Encoding>,
  names: HeadNames = grpcNames,
): ReadonlyArray<Field> =>
  encodings.length === 0
    ? []
    : [{ name: names.acceptEncoding, value: ["identity", ...encodings.map(({ name }) => name)].join(",") }]

/** What the head of a response says. */
export interface Answered {
  readonly metadata: Metadata.Metadata
  /** What answers are compressed with; `undefined` for not at all. */
  readonly encoding: Encoding | undefined
  /** True if there is a status, which stands in trailers, unless they are all there is. */
  readonly trailersOnly: boolean
  /** Why this can't be the answer of a gRPC server. */
  readonly error: RpcError | undefined
}

/** What a client takes. */
export interface Accepted {
  readonly encodings: ReadonlyArray<Encoding>
  /** The content types that its codec reads. */
  readonly contentTypes: ReadonlySet<string>
}

// What heads that come again say, to clients that take the same.
const known = new WeakMap<Accepted, WeakMap<ResponseHead, Answered>>()

export const readAnswerHead = (head: ResponseHead, accepted: Accepted): Answered => {
  let heads = known.get(accepted)
  if (heads === undefined) {
    heads = new WeakMap()
    known.set(accepted, heads)
  }
  const before = heads.get(head)
  if (before !== undefined) return before
  const answered = readAnswer(head, accepted)
  // Bytes can be written to by who gets them, so they aren't shared between calls.
  const shared = Object.isFrozen(head) && answered.metadata.every(([, value]) => typeof value === "string")
  if (shared && answered.error === undefined) heads.set(head, answered)
  return answered
}

const readAnswer = ({ status, fields }: ResponseHead, { encodings, contentTypes }: Accepted): Answered => {
  let contentType = ""
  let named = "identity"
  let trailersOnly = false
  for (const { name, value } of fields) {
    if (name === "content-type") contentType = mediaType(value)
    else if (name === "grpc-encoding") named = value
    else if (name === "grpc-status") trailersOnly = true
  }
  const encoding = named === "identity" ? undefined : encodings.find(({ name }) => name === named)
  const fail = (code: Status.Code, message: string): Answered => ({
    metadata: [],
    encoding: undefined,
    trailersOnly: false,
    error: new RpcError({ code, message, metadata: fromFields(fields) }),
  })
  if (!isGrpc(contentType) || (status !== 200 && !trailersOnly)) {
    const code = Status.fromHttp(status)
    return fail(code, `the answer is no gRPC: HTTP ${status} with content-type ${JSON.stringify(contentType)}`)
  }
  if (!contentTypes.has(contentType)) {
    return fail("internal", `the answer has content-type ${JSON.stringify(contentType)}, which was not asked for`)
  }
  if (named !== "identity" && encoding === undefined) {
    const offered = ["identity", ...encodings.map(({ name }) => name)].join(", ")
    return fail("internal", `the answer is compressed with ${JSON.stringify(named)}, where ${offered} was offered`)
  }
  return { metadata: fromFields(fields), encoding, trailersOnly, error: undefined }
}
