/**
 * A small DNS server on UDP, which answers what the test says.
 *
 * Sources: RFC 1035, sections 4.1 and 3.2; RFC 3596 for AAAA; RFC 2782 for SRV.
 */
import { Buffer } from "node:buffer"
import * as dgram from "node:dgram"
import { isIPv4 } from "node:net"
import { Effect, Queue, type Scope } from "effect"

export interface Srv {
  readonly target: string
  readonly port: number
  readonly priority?: number
}

/** A name's records, or that it has none at all, or that the server fails. */
export type Answer = ReadonlyArray<string | Srv> | "unknown" | "fails"

export interface DnsServer {
  /** `ip:port`. */
  readonly host: string
  /** What it answers from now on. */
  readonly answer: (name: string, answer: Answer) => void
  /** Ends with the next question for a name. */
  readonly asked: (name: string) => Effect.Effect<void>
}

const types = { A: 1, AAAA: 28, SRV: 33 }
const codes = { fails: 2, unknown: 3 }

const number = (value: number, bytes: number): Buffer => {
  const buffer = Buffer.alloc(bytes)
  buffer.writeUIntBE(value, 0, bytes)
  return buffer
}

const labels = (name: string): Buffer =>
  Buffer.concat([
    ...name.split(".").map((label) => Buffer.concat([number(label.length, 1), Buffer.from(label)])),
    number(0, 1),
  ])

/** Only what the tests use: eight groups, none left out. */
const ipv6 = (address: string): Buffer =>
  Buffer.concat(address.split(":").map((group) => number(Number.parseInt(group, 16), 2)))

const record = (of: string | Srv): { readonly type: number; readonly data: Buffer } => {
  if (typeof of !== "string") {
    const { target, port, priority = 0 } = of
    return {
      type: types.SRV,
      data: Buffer.concat([number(priority, 2), number(1, 2), number(port, 2), labels(target)]),
    }
  }
  return isIPv4(of)
    ? { type: types.A, data: Buffer.from(of.split(".").map(Number)) }
    : { type: types.AAAA, data: ipv6(of) }
}

const reply = (
  query: Buffer,
  answers: ReadonlyMap<string, Answer>,
): { readonly name: string; readonly bytes: Buffer } => {
  const parts: Array<string> = []
  let at = 12
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    parts.push(query.toString("latin1", at + 1, at + 1 + length))
    at += 1 + length
  }
  const name = parts.join(".").toLowerCase()
  const type = query.readUInt16BE(at + 1)
  const answer = answers.get(name) ?? "unknown"
  const code = typeof answer === "string" ? codes[answer] : 0
  const records = typeof answer === "string" ? [] : answer.map(record).filter((one) => one.type === type)
  const body = records.map(({ data }) =>
    // The name is where the question has it, the class is the Internet's, and nobody may keep the answer.
    Buffer.concat([number(0xc00c, 2), number(type, 2), number(1, 2), number(0, 4), number(data.length, 2), data]),
  )
  // An answer, to a question that wanted recursion, which there is.
  const head = [query.subarray(0, 2), number(0x8180 | code, 2), number(1, 2), number(records.length, 2), number(0, 4)]
  return { name, bytes: Buffer.concat([...head, query.subarray(12, at + 5), ...body]) }
}

/** Answers on a free port until the scope closes. */
export const dnsServer = (known: Readonly<Record<string, Answer>>): Effect.Effect<DnsServer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const answers = new Map(Object.entries(known))
    const questions = new Map<string, Queue.Queue<void>>()
    const socket = yield* Effect.acquireRelease(
      Effect.promise(
        () =>
          new Promise<dgram.Socket>((resolve) => {
            const bound = dgram.createSocket("udp4")
            bound.bind(0, "127.0.0.1", () => resolve(bound))
          }),
      ),
      (bound) => Effect.promise(() => new Promise<void>((resolve) => bound.close(() => resolve()))),
    )
    socket.on("message", (query, { port, address }) => {
      const { name, bytes } = reply(query, answers)
      socket.send(bytes, port, address)
      const waiting = questions.get(name)
      if (waiting !== undefined) Queue.offerUnsafe(waiting, undefined)
    })
    return {
      host: `127.0.0.1:${socket.address().port}`,
      answer: (name, answer) => answers.set(name, answer),
      asked: (name) =>
        Effect.flatMap(Queue.unbounded<void>(), (waiting) => {
          questions.set(name, waiting)
          return Queue.take(waiting)
        }),
    }
  })
