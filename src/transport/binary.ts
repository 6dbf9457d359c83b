/**
 * Binary values: the bytes under a `-bin` key, which travel as base64 in every protocol.
 *
 * Source: grpc/doc/PROTOCOL-HTTP2.md, "Binary-Header".
 */
import { base64Decode, base64Encode } from "@bufbuild/protobuf/wire"

/** Bytes as base64 without padding. */
export const encodeBinary = (bytes: Uint8Array): string => base64Encode(bytes, "std_raw")

// Groups of four, the last of which may go without its padding, but never without its second digit.
const base64 = /^(?:[0-9A-Za-z+/]{4})*(?:[0-9A-Za-z+/]{2}(?:==)?|[0-9A-Za-z+/]{3}=?)?$/

/**
 * The values of a field, of which a proxy or `Headers` may have joined several with commas, padded or not. What isn't
 * base64 is left out.
 */
export const decodeBinary = (joined: string): ReadonlyArray<Uint8Array> =>
  joined
    .split(",")
    .map((value) => value.trim())
    .filter((value) => base64.test(value))
    .map((value) => base64Decode(value))
