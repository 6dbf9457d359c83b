/**
 * A server for h2spec: the pi calculator without TLS, or with it where a key and a certificate are given. It says on
 * stdout which port it has.
 */
import { readFileSync } from "node:fs"
import process from "node:process"
import { Effect } from "effect"
import { Calculator, Journal } from "../../src/core/mod.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { Service, serve } from "../../src/transport/mod.ts"
import { run } from "./program.ts"

const [key, cert] = process.argv.slice(2).map((file) => readFileSync(file, "utf8"))

const program = Effect.gen(function* () {
  const journal = yield* Journal.open(() => Effect.void)
  const tls = key === undefined || cert === undefined ? {} : { tls: { key, cert } }
  const { port } = yield* serve(Service.make(PiCalculator, Calculator.make({ journal })), {
    port: 0,
    grace: "1 second",
    ...tls,
  })
  process.stdout.write(`${port}\n`)
  return yield* Effect.never
})

run(program)
