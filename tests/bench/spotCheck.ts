/**
 * Whether a calculator answers right: what is measured must be worth it.
 */
import { fromBinary } from "@bufbuild/protobuf"
import { piClosedForm } from "../../src/core/pi/series.ts"
import { PiResponseSchema } from "../../src/transport/gen/pi_pb.ts"
import { calcPath, prefixed, prefixLength, request } from "./messages.ts"
import { type Answer, onWire } from "./wire.ts"

/** Fails unless a call has ended well. */
export const assertOk = ({ status }: Answer): void => {
  if (status !== "0") throw new Error(`a call has ended with status ${status}`)
}

/** Fails unless a call has ended well, with as many bytes of messages as it should have. */
export const assertAnswer = (answer: Answer, expected: number): void => {
  assertOk(answer)
  if (answer.length !== expected) throw new Error(`a call was answered with ${answer.length} bytes, not ${expected}`)
}

// The last digits are the series' own affair.
const tolerance = 1e-12

export const spotCheck = async (port: number): Promise<void> => {
  const n = 999
  const chunks: Array<Uint8Array> = []
  const answer = await onWire<Answer>(port, (wire, done) =>
    wire.call(calcPath, prefixed(request(n)), {
      ended: done,
      received: (bytes) => chunks.push(Uint8Array.from(bytes)),
    }),
  )
  assertOk(answer)
  const { value } = fromBinary(PiResponseSchema, Buffer.concat(chunks).subarray(prefixLength))
  if (Math.abs(value - piClosedForm(n)) > tolerance) throw new Error(`pi(${n}) isn't ${value}`)
}
