// Custom errors: the tutorial's two ways, and a third with types. One program fails in all three ways at once.
import { badRequest, errorInfo, findDetail, RpcError, retryInfo, sendHeader } from "basel/core"
import { Client, connect, Service, serve } from "basel/transport"
import { Console, Effect } from "effect"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"

const service = Service.partial(PiCalculator, {
  calc: ({ n }) =>
    Effect.andThen(
      // The second way: values in the metadata, here in what is sent before the answer.
      sendHeader({ "x-biz-err-code": "10086" }),
      Effect.fail(
        new RpcError({
          code: "failed_precondition",
          // The first way: JSON in the message.
          message: JSON.stringify({ biz_err_code: 10086, msg: "something happened" }),
          // The third way: messages that both sides know by type.
          details: [
            badRequest([{ field: "n", description: `${n} is not to our taste` }]),
            errorInfo({ reason: "BAD_TASTE", domain: "pi.PiCalculator" }),
            retryInfo("1500 millis"),
          ],
        }),
      ),
    ),
})

const program = Effect.gen(function* () {
  const { url } = yield* serve(service, { port: 0 })
  const channel = yield* connect(url)
  const error = yield* Effect.flip(Client.make(PiCalculator, channel).calc({ n: 7 }))
  if (error._tag !== "RpcError") return
  yield* Console.log("code:     ", error.code)
  yield* Console.log("message:  ", JSON.parse(error.message).msg)
  yield* Console.log("leading:  ", error.header)
  yield* Console.log("field:    ", findDetail(error.details, "google.rpc.BadRequest")?.fieldViolations[0]?.field)
  yield* Console.log("reason:   ", findDetail(error.details, "google.rpc.ErrorInfo")?.reason)
  yield* Console.log("retry in: ", findDetail(error.details, "google.rpc.RetryInfo")?.retryDelay)
})

await Effect.runPromise(Effect.scoped(program))
