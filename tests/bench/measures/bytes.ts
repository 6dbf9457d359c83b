/**
 * Bytes: messages of 64 KiB both ways on one stream, beside `node:http2` that gives back bytes without a look at them.
 */
import { create, toBinary } from "@bufbuild/protobuf"
import { type Comparison, compare, contest, median } from "../contest.ts"
import { ChunkSchema } from "../gen/echo_pb.ts"
import { prefixed } from "../messages.ts"
import { runtimeNames, runtimes } from "../programs.ts"
import type { Measure } from "../row.ts"
import { echoes, type Server } from "../servers.ts"
import { assertAnswer } from "../spotCheck.ts"
import { type Answer, onWire } from "../wire.ts"
import { type Rate, timed } from "./streams.ts"

const path = "/bench.Echo/Echo"
const kibibyte = 1024
const data = Uint8Array.from({ length: 64 * kibibyte }, (_, i) => (i * 31) % 251)
const message = prefixed(toBinary(ChunkSchema, create(ChunkSchema, { data })))

const echo = async (server: Server, times: number, received?: (bytes: Uint8Array) => void): Promise<void> => {
  const answer = await onWire<Answer>(server.port, (wire, done) =>
    wire.stream(path, { unit: message, times }, { ended: done, ...(received && { received }) }),
  )
  assertAnswer(answer, times * message.length)
}

const check = async (server: Server): Promise<void> => {
  const chunks: Array<Uint8Array> = []
  await echo(server, 2, (bytes) => chunks.push(Uint8Array.from(bytes)))
  if (!Buffer.concat(chunks).equals(Buffer.concat([message, message]))) throw new Error("the echo isn't what was sent")
}

const messages = 4000
const warmUps = 2

const throughput: Pick<Comparison<Rate>, "figure" | "show"> = {
  figure: ({ perSecond }) => perSecond,
  show: (taken) => {
    const rate = median(taken, ({ perSecond }) => (perSecond * data.length) / 2 ** 20, 0)
    return `${rate} MiB/s, ${median(taken, ({ cpu }) => cpu, 0)} µs a message`
  },
}

export const bytes: Measure = async (note) => {
  const names = [...runtimes, "node:http2"] as const
  const warmUp = async (server: Server) => {
    await check(server)
    for (let i = 0; i < warmUps; i++) await echo(server, messages)
  }
  const take = (server: Server) => timed(server, messages, () => echo(server, messages))
  const outcomes = await contest({ start: (name) => echoes[name](), names, rounds: 5, warmUp, take }, note)
  return runtimes.map((runtime) =>
    compare(outcomes.get(runtime), outcomes.get("node:http2"), {
      ...throughput,
      measure: `64 KiB messages both ways: ${runtimeNames[runtime]} against a raw echo of node:http2 on Bun`,
      // The peer's runtime is Bun; the others are for information.
      ...(runtime === "bun" && { bound: { better: "higher", must: 1, aim: 1.5 } }),
    }),
  )
}
