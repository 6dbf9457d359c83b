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
 * How many binary values are read from one head. Fields are bounded by its size, which counts 32 bytes for each; but commas
 * make a value of every third byte, and HPACK may have made all of these of four.
 */
export const mostValues = 128

/**
 * The values of a field, of which a proxy or `Headers` may have joined several with commas, padded or not. What isn't
 * base64 is left out, and so are those behind the first `most`.
 */
export const decodeBinary = (joined: string, most: number): ReadonlyArray<Uint8Array> =>
  joined
    .split(",", most)
    .map((value) => value.trim())
    .filter((value) => base64.test(value))
    .map((value) => base64Decode(value))
