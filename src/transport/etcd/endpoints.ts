/**
 * Endpoints as etcd keeps them: a key for each, the service's name before its address, and the address in JSON. So does
 * etcd's own resolver for grpc-go, and either finds what the other has registered.
 *
 * Source: etcd's go.etcd.io/etcd/client/v3/naming, packages endpoints and resolver.
 */
import { Option, Schema } from "effect"

const utf8 = new TextEncoder()

/** The key of an endpoint. */
export const keyOf = (service: string, address: string): Uint8Array => utf8.encode(`${service}/${address}`)

/** The keys of all endpoints of a service: from the first to the one that none of them reaches. */
export const keysOf = (service: string): { readonly key: Uint8Array; readonly rangeEnd: Uint8Array } => ({
  key: utf8.encode(`${service}/`),
  // "0" is what follows "/".
  rangeEnd: utf8.encode(`${service}0`),
})

/** The value of an endpoint, with the fields in grpc-go's order. Its `Op` is always 0, for one that is there. */
export const valueFor = (address: string): Uint8Array =>
  utf8.encode(JSON.stringify({ Op: 0, Addr: address, Metadata: null }))

// Metadata, which grpc-go's programs may put there, is theirs to read.
const decode = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Struct({ Addr: Schema.String.check(Schema.isPattern(/^[\x21-\x7e]{1,1024}$/)) })),
)

// What is longer isn't read.
const mostBytes = 64 * 1024

/** The address in a value; `undefined` where there is none. */
export const addressOf = (value: Uint8Array): string | undefined =>
  value.length > mostBytes
    ? undefined
    : Option.getOrUndefined(Option.map(decode(new TextDecoder().decode(value)), ({ Addr }) => Addr))
