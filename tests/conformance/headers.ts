/**
 * Metadata as the suite has it: binary values in base64.
 */
import { create } from "@bufbuild/protobuf"
import { Metadata } from "../../src/core/mod.ts"
import { type Header, HeaderSchema } from "./gen/connectrpc/conformance/v1/service_pb.js"

export const toHeaders = (metadata: Metadata.Metadata): Array<Header> => {
  const headers = new Map<string, Header>()
  for (const [name, value] of metadata) {
    const header = headers.get(name) ?? create(HeaderSchema, { name })
    header.value.push(typeof value === "string" ? value : Buffer.from(value).toString("base64"))
    headers.set(name, header)
  }
  return [...headers.values()]
}

export const fromHeaders = (headers: ReadonlyArray<Header>): Metadata.Metadata =>
  Metadata.of(
    headers.flatMap(({ name, value }) =>
      value.map((one) => [name, name.endsWith("-bin") ? Buffer.from(one, "base64") : one] as const),
    ),
  )
