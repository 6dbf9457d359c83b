/**
 * `tracing`: a span a call, and a line in the log when asked.
 */
import { Effect, Option, type Tracer } from "effect"
import { Headers, HttpTraceContext } from "effect/http"
import { type CallInfo, path } from "../rpc/call.ts"
import type { RpcError } from "../rpc/error.ts"
import type { Layered } from "../rpc/interceptor.ts"
import * as Metadata from "../rpc/metadata.ts"
import * as Monotonic from "../rpc/monotonic.ts"
import { statusOf } from "../rpc/outcome.ts"
import { type CallLayer, intercept } from "./intercept.ts"

export interface TracingOptions {
  /** Log each call's end at level info: its status and its cost. Off by default. */
  readonly log?: boolean
}

/**
 * A layer that makes a span of each call through Effect's tracer: on a service of kind `server` and a child of the span
 * that the client's `traceparent` names, on a channel of kind `client` and sent on as `traceparent`. A stream's span
 * ends with its last message. The names are OpenTelemetry's: the span is called after the method, with
 * `rpc.system.name`, `rpc.method`, `rpc.response.status_code`, `error.type`, and on a server `client.address`.
 *
 * It measures what stands before it in the pipe, and commutes with layers that take no time and never fail.
 *
 * Sources: OpenTelemetry's semantic conventions for RPC and gRPC spans; W3C Trace Context.
 *
 * @example
 * const pi = Service.make(PiCalculator, calculator).pipe(tracing({ log: true }))
 * // pi.PiCalculator/Calc ok 0.214ms
 */
export const tracing =
  ({ log = false }: TracingOptions = {}): CallLayer =>
  <T extends Layered>(target: T): T => {
    const kind = "connector" in target ? "client" : "server"
    return intercept((call, next) => {
      const name = path(call.method).slice(1)
      const parent = kind === "server" ? callersSpan(call) : undefined
      const traced = Effect.useSpan(
        name,
        {
          kind,
          ...(parent === undefined ? {} : { parent }),
          attributes: {
            "rpc.system.name": "grpc",
            "rpc.method": name,
            ...(call.peer.address === undefined ? {} : { "client.address": call.peer.address }),
          },
        },
        (span) =>
          next(kind === "client" ? { ...call, metadata: withSpan(call, span) } : call).pipe(
            Effect.withParentSpan(span, { captureStackTrace: false }),
            Effect.onExit((exit) =>
              Effect.map(Monotonic.now, (now) => {
                const status = statusOf(exit, call, now)
                span.attribute("rpc.response.status_code", status.toUpperCase())
                if (status !== "ok") span.attribute("error.type", status.toUpperCase())
              }),
            ),
          ),
      )
      return log ? logged(name, call, traced) : traced
    })(target)
  }

const logged = <A, R>(
  name: string,
  call: CallInfo,
  running: Effect.Effect<A, RpcError, R>,
): Effect.Effect<A, RpcError, R> =>
  Effect.clockWith((clock) => {
    const start = Monotonic.nowUnsafe(clock)
    return Effect.onExit(running, (exit) => {
      const now = Monotonic.nowUnsafe(clock)
      return Effect.logInfo(`${name} ${statusOf(exit, call, now)} ${(now - start).toFixed(3)}ms`)
    })
  })

const callersSpan = (call: CallInfo): Tracer.ExternalSpan | undefined => {
  const traceparent = Metadata.getText(call.metadata, "traceparent")
  return traceparent === undefined
    ? undefined
    : Option.getOrUndefined(HttpTraceContext.w3c(Headers.fromInput({ traceparent })))
}

const withSpan = (call: CallInfo, span: Tracer.Span): Metadata.Metadata =>
  Metadata.concat(
    call.metadata.filter(([key]) => key !== "traceparent"),
    [["traceparent", `00-${span.traceId}-${span.spanId}-${span.sampled ? "01" : "00"}`]],
  )
