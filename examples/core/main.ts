// The core as a library: no server, no socket, no permission.
import { closedForm, skipHalf } from "basel/core"
import { Console, Effect, Random, Stream } from "effect"

const program = Stream.range(1, 10).pipe(
  Stream.filterEffect(() => skipHalf),
  Stream.mapEffect((n) => Effect.map(closedForm(n), (pi) => `pi(${n}) = ${pi}`)),
  Stream.runForEach((line) => Console.log(line)),
)
Effect.runFork(Random.withSeed(program, "euler"))
