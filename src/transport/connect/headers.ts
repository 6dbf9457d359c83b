/**
 * Metadata and the `Headers` of Connect-ES, both ways.
 *
 * Values under `-bin` are base64 on the wire (grpc/doc/PROTOCOL-HTTP2.md, "Binary-Header"). `Headers` joins the values
 * of a repeated key with ", ", so repeated text arrives as one value; repeated bytes are told apart, since base64 has no
 * comma.
 */
import { decodeBinaryHeader, encodeBinaryHeader } from "@connectrpc/connect"
import * as Metadata from "../../core/rpc/metadata.ts"

// Set by HTTP servers and proxies of their own accord, or by gRPC-Web: no metadata of the call.
const notOurs: ReadonlySet<string> = new Set(["date", "server", "vary", "via", "x-grpc-web"])

/** Adds metadata to headers. */
export const appendTo = (headers: Headers, metadata: Metadata.Metadata): void => {
  for (const [key, value] of metadata) {
    headers.append(key, typeof value === "string" ? value : encodeBinaryHeader(value.slice().buffer))
  }
}

export const toHeaders = (metadata: Metadata.Metadata): Headers => {
  const headers = new Headers()
  appendTo(headers, metadata)
  return headers
}

/** The metadata among headers: all but what belongs to the protocols. Bytes that aren't base64 are left out. */
export const fromHeaders = (headers: Headers): Metadata.Metadata => {
  const metadata: Array<Metadata.Entry> = []
  headers.forEach((value, key) => {
    if (Metadata.isReserved(key) || notOurs.has(key)) return
    if (key.endsWith("-bin")) metadata.push(...binaryValues(key, value))
    else metadata.push([key, value])
  })
  return metadata
}

// With padding or without; a single character at the end would be less than a byte.
const base64 = /^([0-9A-Za-z+/]{4})*([0-9A-Za-z+/]{2}(==)?|[0-9A-Za-z+/]{3}=?)?$/

const binaryValues = (key: string, joined: string): ReadonlyArray<Metadata.Entry> =>
  joined
    .split(",")
    .map((value) => value.trim())
    .filter((value) => base64.test(value))
    .map((value) => [key, decodeBinaryHeader(value)] as const)
