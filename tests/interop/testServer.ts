/**
 * The server that clients of others are let loose on: `grpc.testing.TestService` and the calculator on one port, without
 * TLS, or with it where a key and a certificate are given. It says on stdout which port it has.
 */
import { readFileSync } from "node:fs"
import process from "node:process"
import { Effect } from "effect"
import { Calculator, Journal } from "../../src/core/mod.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { compression, Service, serve } from "../../src/transport/mod.ts"
import { run } from "../conformance/program.ts"
import * as TestService from "./testService.ts"

const [key, cert] = process.argv.slice(2).map((file) => readFileSync(file, "utf8"))

const program = Effect.gen(function* () {
  const journal = yield* Journal.open(() => Effect.void)
  // Every request of a stream is answered, so that a client knows what to expect.
  const pi = Service.make(PiCalculator, Calculator.make({ journal, policy: Effect.succeed(true) }))
  const tls = key === undefined || cert === undefined ? {} : { tls: { key, cert } }
  const services = [pi, ...TestService.make()].map((service) => service.pipe(compression()))
  const { port } = yield* serve(services, { port: 0, grace: "1 second", ...tls })
  process.stdout.write(`serving on port ${port}\n`)
  return yield* Effect.never
})

run(program)
