#!/usr/bin/env bun
/**
 * The command `basel`: serves the pi calculator and calls it.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Console, Effect, Runtime } from "effect"
import { CliConfig, CliOutput, Command, Flag, GlobalFlag } from "effect/cli"
import { cache } from "./cli/cache.ts"
import { calc } from "./cli/calc.ts"
import { discover } from "./cli/discover.ts"
import { experiment } from "./cli/experiment.ts"
import { exitCode, explain, misused } from "./cli/failure.ts"
import { flushed, withOutputs } from "./cli/log.ts"
import { range } from "./cli/range.ts"
import { report } from "./cli/report.ts"
import { serve, serveByDefault } from "./cli/serve.ts"
import { stream } from "./cli/stream.ts"
import { summarize } from "./cli/summarize.ts"
import { version } from "./transport/version.ts"

const basel = Command.make("basel", {}, () => serveByDefault).pipe(
  Command.withDescription("The pi calculator over gRPC: without a command it serves on 127.0.0.1:8080"),
  Command.withExamples([
    { command: "basel", description: "Serve" },
    { command: "basel calc 999", description: "Ask the server" },
  ]),
  Command.withSubcommands([serve, calc, stream, range, summarize, report, cache, discover, experiment]),
)

// Wrong usage gets the line that says what is right, and where to read more; not the whole help.
const presenter = Effect.map(
  CliOutput.Formatter,
  (formatter): CliOutput.Presenter => ({
    present: (event) => {
      switch (event._tag) {
        case "Help":
          return Console.log(formatter.formatHelpDoc(event.helpDoc))
        case "Version":
          return Console.log(`${event.name} ${event.version}`)
        case "InvalidInvocation":
          return misused(event.errors, event.commandPath)
      }
    },
  }),
)

// The built-in one takes -v, which the commands have for verbose.
const versionFlag = GlobalFlag.Action({
  flag: Flag.Boolean("version").pipe(Flag.withDescription("Show the version"), Flag.withDefault(false)),
  run: (_, { command }) => Console.log(`${command.name} ${version}`),
})

const main = Command.run(basel, { version }).pipe(
  Effect.provideServiceEffect(CliOutput.Presenter, presenter),
  Effect.provideService(
    CliConfig.CliConfig,
    CliConfig.make({ builtIns: [GlobalFlag.Help, versionFlag, GlobalFlag.Completions, GlobalFlag.LogLevel] }),
  ),
  Effect.provide(NodeServices.layer),
  Effect.tapCause(explain),
  withOutputs,
)

const runMain = Runtime.makeRunMain(({ fiber, teardown }) => {
  let interrupted = false
  const onSignal = () => {
    // A second signal is from somebody who doesn't want to wait.
    if (interrupted) process.exit(130)
    interrupted = true
    fiber.interruptUnsafe(fiber.id)
  }
  process.on("SIGINT", onSignal)
  process.on("SIGTERM", onSignal)
  fiber.addObserver((exit) => teardown(exit, (code) => process.exit(code)))
})

runMain(main, {
  disableErrorReporting: true,
  teardown: (exit, onExit) => {
    const code = exitCode(exit, Number(process.exitCode ?? 130))
    flushed().then(() => onExit(code))
  },
})
