/**
 * `basel cache`: the cache of a server, by hand.
 */
import { durationFromMs } from "@bufbuild/protobuf/wkt"
import { Duration, Effect, Option, Stdio, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { printable } from "../core/rpc/printable.ts"
import { Cache, type Change, type SetRequest } from "../transport/gen/cache_pb.ts"
import { type ClientOptions, clientFlags, clientOf } from "./client.ts"
import { positiveDurationFlag } from "./duration.ts"
import { UsageError } from "./failure.ts"
import { jsonFlag, printLines } from "./output.ts"

const cacheClient = (options: ClientOptions) => clientOf(Cache, options)

// Not by that name among the flags, where it is the key of a certificate.
const name = Argument.String("key").pipe(Argument.withDescription("The key"))
const prefix = Argument.String("prefix").pipe(
  Argument.withDescription("How the keys begin; without it, all keys"),
  Argument.withDefault(""),
)
const ttl = (what: string) => positiveDurationFlag("ttl").pipe(Flag.withDescription(what), Flag.optional)
const common = { ...clientFlags, json: jsonFlag } as const

const durationOf = (ttl: Option.Option<Duration.Duration>) =>
  Option.match(ttl, {
    onNone: () => ({}),
    onSome: (one) => ({ ttl: durationFromMs(Math.ceil(Duration.toMillis(one))) }),
  })

const base64 = (value: Uint8Array): string => Buffer.from(value).toString("base64")

const longestShown = 60

/** The beginning of a value, for a person to read. */
const shown = (value: Uint8Array): string => {
  const text = Buffer.from(value).toString()
  if (!Buffer.from(text).equals(value)) return `${value.length} bytes`
  return text.length <= longestShown
    ? printable(text)
    : `${printable(text.slice(0, longestShown))}… (${value.length} bytes)`
}

const changeLine =
  (json: boolean) =>
  ({ key, entry }: Change): string => {
    if (!json) return entry === undefined ? `${printable(key)} is gone` : `${printable(key)} = ${shown(entry.value)}`
    return JSON.stringify(
      entry === undefined ? { key } : { key, value: base64(entry.value), version: `${entry.version}` },
    )
  }

const printLine = (line: string) => printLines(Stream.succeed(line))

const get = Command.make(
  "get",
  { name, ...common },
  Effect.fnUntraced(function* ({ name: key, ...options }) {
    const { get } = yield* cacheClient(options)
    const { value, version } = yield* get({ key })
    if (options.json) return yield* printLine(JSON.stringify({ key, value: base64(value), version: `${version}` }))
    const { stdout } = yield* Stdio.Stdio
    yield* Stream.run(Stream.succeed(value), stdout())
  }, Effect.scoped),
).pipe(
  Command.withDescription("Print what is under a key, as it is; exit code 1 where there is nothing"),
  Command.withExamples([
    { command: "basel cache get greeting", description: "The bytes alone" },
    { command: "basel cache get greeting --json", description: "With the version; the bytes in base64" },
  ]),
)

// As much as a server takes in a message, unless it is told otherwise.
const maxInputBytes = 4 * 1024 * 1024

/** All of standard input. */
const input = Effect.gen(function* () {
  const { stdin } = yield* Stdio.Stdio
  const chunks: Array<Uint8Array> = []
  let bytes = 0
  yield* Stream.runForEach(stdin, (chunk) => {
    bytes += chunk.length
    if (bytes > maxInputBytes) {
      return Effect.fail(
        new UsageError({ message: `standard input has more than ${maxInputBytes} bytes, too many for a value` }),
      )
    }
    chunks.push(chunk)
    return Effect.void
  })
  return Buffer.concat(chunks)
})

interface Conditions {
  readonly ifAbsent: boolean
  readonly ifPresent: boolean
  readonly ifVersion: Option.Option<bigint>
}

const conditionOf = ({
  ifAbsent,
  ifPresent,
  ifVersion,
}: Conditions): Effect.Effect<SetRequest["condition"], UsageError> => {
  const given: ReadonlyArray<SetRequest["condition"]> = [
    ...(ifAbsent ? [{ case: "ifAbsent", value: true } as const] : []),
    ...(ifPresent ? [{ case: "ifPresent", value: true } as const] : []),
    ...Option.toArray(Option.map(ifVersion, (value) => ({ case: "ifVersion", value }) as const)),
  ]
  return given.length > 1
    ? Effect.fail(
        new UsageError({ message: "only one of --if-absent, --if-present and --if-version can hold: give one" }),
      )
    : Effect.succeed(given[0] ?? { case: undefined })
}

const set = Command.make(
  "set",
  {
    name,
    value: Argument.String("value").pipe(Argument.withDescription("The value; - for standard input")),
    ttl: ttl("How long it is kept, such as 10s; until it is deleted by default"),
    ifAbsent: Flag.Boolean("if-absent").pipe(
      Flag.withDescription("Only where there is nothing"),
      Flag.withDefault(false),
    ),
    ifPresent: Flag.Boolean("if-present").pipe(
      Flag.withDescription("Only where there is something"),
      Flag.withDefault(false),
    ),
    ifVersion: Flag.String("if-version").pipe(
      Flag.withMetavar("version"),
      Flag.withDescription("Only where it has this version, which set and get --json print"),
      Flag.filter(
        (text) => /^\d{1,20}$/.test(text) && BigInt(text) < 2n ** 64n,
        (text) => `Expected a version such as set prints it, not ${JSON.stringify(text)}`,
      ),
      Flag.map(BigInt),
      Flag.optional,
    ),
    ...common,
  },
  Effect.fnUntraced(function* ({ name: key, value, ttl, ...options }) {
    const condition = yield* conditionOf(options)
    const bytes = value === "-" ? yield* input : Buffer.from(value)
    const { set } = yield* cacheClient(options)
    const { version } = yield* set({ key, value: bytes, condition, ...durationOf(ttl) })
    yield* printLine(options.json ? JSON.stringify({ key, version: `${version}` }) : `${version}`)
  }, Effect.scoped),
).pipe(
  Command.withDescription("Write a value under a key, and print its version"),
  Command.withExamples([
    { command: "basel cache set greeting hello --ttl 10s", description: "For ten seconds" },
    { command: "basel cache set logo - --if-absent < logo.png", description: "A file, unless there is one" },
  ]),
)

const del = Command.make(
  "del",
  { name, ...common },
  Effect.fnUntraced(function* ({ name: key, ...options }) {
    const client = yield* cacheClient(options)
    const { deleted } = yield* client.delete({ key })
    yield* printLine(options.json ? JSON.stringify({ key, deleted }) : deleted ? "deleted" : "there was nothing")
  }, Effect.scoped),
).pipe(
  Command.withDescription("Delete what is under a key; that there is nothing is no failure"),
  Command.withExamples([{ command: "basel cache del greeting", description: "One key" }]),
)

const incr = Command.make(
  "incr",
  {
    name,
    by: Flag.String("by").pipe(
      Flag.withMetavar("number"),
      Flag.withDescription("How much to add, such as 10 or -1"),
      Flag.filter(
        (text) => /^-?\d{1,19}$/.test(text) && BigInt.asIntN(64, BigInt(text)) === BigInt(text),
        (text) => `Expected a whole number of 64 bits, not ${JSON.stringify(text)}`,
      ),
      Flag.map(BigInt),
      Flag.withDefault(1n),
    ),
    ttl: ttl("How long it is kept if it is new"),
    ...common,
  },
  Effect.fnUntraced(function* ({ name: key, by, ttl, ...options }) {
    const { increment } = yield* cacheClient(options)
    const { value } = yield* increment({ key, by, ...durationOf(ttl) })
    yield* printLine(options.json ? JSON.stringify({ key, value: `${value}` }) : `${value}`)
  }, Effect.scoped),
).pipe(
  Command.withDescription("Add to a number, and print the sum"),
  Command.withExamples([
    { command: "basel cache incr visits", description: "One more" },
    { command: "basel cache incr visits --by=-10", description: "Ten fewer" },
  ]),
)

const scan = Command.make(
  "scan",
  { prefix, ...common },
  Effect.fnUntraced(function* ({ prefix, ...options }) {
    const { scan } = yield* cacheClient(options)
    yield* printLines(
      Stream.map(scan({ prefix }), ({ key }) => (options.json ? JSON.stringify({ key }) : printable(key))),
    )
  }, Effect.scoped),
).pipe(
  Command.withDescription("Print the keys that begin with a prefix, a line each"),
  Command.withExamples([{ command: "basel cache scan user/", description: "Those of all users" }]),
)

const watch = Command.make(
  "watch",
  { prefix, ...common },
  Effect.fnUntraced(function* ({ prefix, ...options }) {
    const { watch } = yield* cacheClient(options)
    yield* printLines(Stream.map(watch({ prefix }), changeLine(options.json)))
  }, Effect.scoped),
).pipe(
  Command.withDescription("Print what changes under keys that begin with a prefix, as it does"),
  Command.withExamples([{ command: "basel cache watch user/ --json", description: "Until Ctrl-C, with the values" }]),
)

export const cache = Command.make("cache").pipe(
  Command.withDescription("Read, write and watch the cache of a server that runs with --cache"),
  Command.withExamples([
    { command: "basel cache set greeting hello", description: "Write" },
    { command: "basel cache get greeting", description: "Read" },
  ]),
  Command.withSubcommands([get, set, del, incr, scan, watch]),
)
