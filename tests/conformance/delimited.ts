/**
 * How the runner and what it tests speak with each other: messages on stdin and stdout, each with its length before it, as
 * four bytes.
 */
import process from "node:process"
import { type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf"

const prefixLength = 4

/** The messages on stdin until it ends. */
export async function* read<D extends DescMessage>(desc: D): AsyncGenerator<MessageShape<D>, void> {
  let bytes = Buffer.alloc(0)
  for await (const chunk of process.stdin) {
    bytes = Buffer.concat([bytes, chunk])
    while (bytes.length >= prefixLength) {
      const end = prefixLength + bytes.readUint32BE()
      if (bytes.length < end) break
      yield fromBinary(desc, bytes.subarray(prefixLength, end))
      bytes = bytes.subarray(end)
    }
  }
  if (bytes.length > 0) throw new Error("stdin ended within a message")
}

/** Writes a message to stdout. */
export const write = <D extends DescMessage>(desc: D, message: MessageShape<D>): void => {
  const bytes = toBinary(desc, message)
  const prefix = Buffer.alloc(prefixLength)
  prefix.writeUint32BE(bytes.length)
  process.stdout.write(Buffer.concat([prefix, bytes]))
}
