/**
 * A call of Connect or gRPC-Web, as a server runs it: all that is the same whatever its response looks like.
 */
import { Context, Effect, Exit, type Fiber } from "effect"
import { Background } from "../../core/rpc/background.ts"
import { type Call, type CallInfo, noResponse } from "../../core/rpc/call.ts"
import { exceeded, limited } from "../../core/rpc/deadline.ts"
import { RpcError } from "../../core/rpc/error.ts"
import type * as Metadata from "../../core/rpc/metadata.ts"
import * as Monotonic from "../../core/rpc/monotonic.ts"
import { serving as inContext, respond } from "../../core/rpc/service.ts"
import type { Exchange, RequestHandler } from "../exchange.ts"
import { noMemory } from "../grpc/incoming.ts"
import type { Serving } from "../grpc/server.ts"
import type { Begun } from "../grpc/turn.ts"
import { encodeError, errorOf, metadataTooLarge, unsendableMetadata } from "../grpc/unsendable.ts"
import { type Field, sizeOfAll } from "../http2/hpack.ts"
import type { MemoryBudget } from "../http2/memory.ts"
import { maxTimerMillis } from "../timer.ts"
import type { Opening } from "./opening.ts"

export abstract class ConnectCall implements RequestHandler, Begun {
  protected readonly opening: Opening
  protected readonly exchange: Exchange
  protected readonly info: CallInfo
  protected over = false
  private readonly serving: Serving
  private timer: ReturnType<typeof setTimeout> | undefined
  private fiber: Fiber.Fiber<unknown, RpcError> | undefined

  constructor(serving: Serving, opening: Opening, exchange: Exchange, now: number) {
    this.serving = serving
    this.opening = opening
    this.exchange = exchange
    const { route, timeout, metadata } = opening
    const asked = timeout === undefined ? undefined : now + timeout
    this.info = {
      method: route.handler.method,
      metadata,
      deadline: limited(asked, route.service.limit, now),
      peer: exchange.peer,
      response: noResponse(),
    }
  }

  /** Starts what needs no more of the request than its head. */
  begin(now: number): void {
    const { error } = this.opening
    const { deadline } = this.info
    if (error !== undefined) return this.fail(error)
    if (deadline !== undefined) {
      if (deadline <= now) return this.fail(exceeded())
      this.serving.turn.add(this)
    }
    this.start()
  }

  // ---- What each protocol does in its own way

  protected abstract start(): void
  /** Reads a piece of the body, and ends it, here and below: both throw an `RpcError` for what the request may not say. */
  protected abstract read(bytes: Uint8Array, start: number, end: number): void
  protected abstract ended(): void
  abstract drained(): void
  /** True once a part of the body may have been sent that isn't all of it. */
  protected abstract get responding(): boolean
  /** Sends the rest of the response, or says in it why there is none. */
  protected abstract succeed(): void
  protected abstract fail(error: RpcError): void

  // ---- The exchange's events

  data(bytes: Uint8Array, start: number, end: number): void {
    if (this.over) return this.exchange.consumed(end - start)
    try {
      this.read(bytes, start, end)
    } catch (error) {
      this.broken(error)
    }
  }

  end(): void {
    if (this.over) return
    try {
      this.ended()
    } catch (error) {
      this.broken(error)
    }
  }

  reset(): void {
    this.close()
    this.fiber?.interruptUnsafe()
  }

  exhausted({ name, limit }: MemoryBudget): void {
    if (!this.responding) return this.broken(noMemory(name, limit))
    // Some of the body may have been dropped, and whatever followed would be taken for that: the exchange is reset.
    this.reset()
  }

  stop(): void {
    this.broken(new RpcError({ code: "unavailable", message: "the server is shutting down" }))
  }

  // ---- The deadline

  outlived(): void {
    if (!this.over) this.expect()
  }

  /** Ends the call at its deadline, whether its request has come by then or not. */
  private expect(): void {
    const left = (this.info.deadline ?? Number.POSITIVE_INFINITY) - Monotonic.nowUnsafe(this.serving.clock)
    if (left <= 0) this.broken(exceeded())
    else this.timer = setTimeout(() => this.expect(), Math.min(left, maxTimerMillis))
  }

  // ---- The program

  protected run(program: Effect.Effect<unknown, RpcError>): void {
    const { info, opening, serving, exchange } = this
    const context = inContext<Call>(info)(serving.context)
    const fiber = Effect.runForkWith(
      exchange.waitUntil === undefined ? context : Context.add(context, Background, exchange.waitUntil),
    )(respond(opening.route.service, info, program))
    // A program that needs no turn of its own answers in this one.
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return this.finish(exit)
    this.fiber = fiber
    fiber.addObserver((late) => this.finish(late))
    // What the program did in its first turn may have ended the call.
    if (this.over) fiber.interruptUnsafe()
  }

  private finish(exit: Exit.Exit<unknown, RpcError>): void {
    if (this.over) return
    if (Exit.isFailure(exit)) this.fail(errorOf(exit.cause))
    else this.succeed()
  }

  /** Ends the call for what the client or the server did, whether the program runs or not. */
  protected broken(reason: unknown): void {
    if (this.over) return
    if (!(reason instanceof RpcError)) throw reason
    this.fail(reason)
    this.fiber?.interruptUnsafe()
  }

  protected close(): void {
    this.over = true
    if (this.timer !== undefined) clearTimeout(this.timer)
  }

  // ---- The response

  /** Ends the response. What of it waits is dropped at the deadline: nobody wants it then. */
  protected sendEnd(): void {
    const { exchange, info, serving } = this
    exchange.sendEnd()
    if (info.deadline === undefined || exchange.closed) return
    const left = info.deadline - Monotonic.nowUnsafe(serving.clock)
    exchange.sendBy?.(performance.now() + Math.max(0, left))
  }

  protected fits(fields: ReadonlyArray<Field>): boolean {
    return sizeOfAll(fields) <= this.exchange.maxHeaderListSize
  }

  protected tooLarge(which: "leading" | "trailing"): RpcError {
    return metadataTooLarge(which, this.exchange.maxHeaderListSize)
  }

  protected encoded<A>(error: RpcError, encode: (error: RpcError) => A): A {
    return encodeError(this.serving.context, error, encode)
  }

  protected unsendable(...all: ReadonlyArray<Metadata.Metadata>): RpcError | undefined {
    return unsendableMetadata(this.serving.context, this.info, ...all)
  }
}
