/**
 * The pi calculator as grpc-js's users write it, with the messages of @grpc/proto-loader. It has what is measured.
 */
import { join } from "node:path"
import * as grpc from "@grpc/grpc-js"
import { loadSync } from "@grpc/proto-loader"
import { piClosedForm } from "../../../src/core/pi/series.ts"

interface PiRequest {
  readonly n: number
}
interface PiResponse {
  readonly value: number
}
interface PiRange {
  readonly first: number
  readonly last: number
}

const file = join(import.meta.dirname, "..", "..", "..", "proto", "pi.proto")
const descriptor = loadSync(file, { defaults: true })["pi.PiCalculator"]
if (descriptor === undefined || "format" in descriptor) throw new Error("pi.PiCalculator is no service")

const notPositive = { code: grpc.status.INVALID_ARGUMENT, details: "request number should be positive" }

const calc: grpc.handleUnaryCall<PiRequest, PiResponse> = ({ request: { n } }, respond) => {
  if (n <= 0) respond(notPositive)
  else respond(null, { value: piClosedForm(n) })
}

const calcStream: grpc.handleBidiStreamingCall<PiRequest, PiRequest & PiResponse> = (call) => {
  call.on("data", ({ n }: PiRequest) => {
    if (n <= 0) {
      call.emit("error", notPositive)
    } else if (Math.random() < 0.5 && !call.write({ n, value: piClosedForm(n) })) {
      call.pause()
      call.once("drain", () => call.resume())
    }
  })
  call.on("end", () => call.end())
}

const calcRange: grpc.handleServerStreamingCall<PiRange, PiRequest & PiResponse> = (call) => {
  const { first, last } = call.request
  if (first <= 0) {
    call.emit("error", notPositive)
    return
  }
  const send = (from: number): void => {
    for (let n = from; n <= last; n++) {
      if (!call.write({ n, value: piClosedForm(n) })) {
        call.once("drain", () => send(n + 1))
        return
      }
    }
    call.end()
  }
  send(first)
}

const server = new grpc.Server()
server.addService(descriptor, { calc, calcStream, calcRange })
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error
  process.stdout.write(`listening on 127.0.0.1:${port}\n`)
})
