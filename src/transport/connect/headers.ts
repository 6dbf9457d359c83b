/**
 * Metadata and the `Headers` of Connect-ES, both ways.
 *
 * Values under `-bin` are base64 on the wire (grpc/doc/PROTOCOL-HTTP2.md, "Binary-Header"). `Headers` joins the values
 * of a repeated key with ", ", so repeated text arrives as one value; repeated bytes are told apart, since base64 has no
 * comma.
 */
import type * as Metadata from "../../core/rpc/metadata.ts"
import { encodeBinary } from "../binary.ts"
import { Received } from "../received.ts"
import { notOurs } from "./metadata.ts"

/** Adds metadata to headers. */
export const appendTo = (headers: Headers, metadata: Metadata.Metadata): void => {
  for (const [key, value] of metadata) {
    headers.append(key, typeof value === "string" ? value : encodeBinary(value))
  }
}

export const toHeaders = (metadata: Metadata.Metadata): Headers => {
  const headers = new Headers()
  appendTo(headers, metadata)
  return headers
}

/** The metadata among headers. */
export const fromHeaders = (headers: Headers): Metadata.Metadata => {
  const received = new Received()
  headers.forEach((value, key) => {
    if (!notOurs.has(key)) received.add(key, value)
  })
  return received.metadata
}
