/**
 * A `Request` and its `Response` as an exchange.
 *
 * Source: fetch.spec.whatwg.org; streams.spec.whatwg.org.
 */
import type { Peer } from "../core/rpc/call.ts"
import type { Exchange, RequestHandler } from "./exchange.ts"
import { errorCode } from "./http2/frames.ts"
import { connectionSpecific, type RequestHead } from "./http2/head.ts"
import type { Field } from "./http2/hpack.ts"

// So much of a request is read before its program has consumed it.
const readAhead = 65_536
const noTrailers: ReadonlyArray<Field> = Object.freeze([])

const headOf = (request: Request): RequestHead => {
  const { protocol, host, pathname, search } = new URL(request.url)
  const fields: Array<Field> = []
  request.headers.forEach((value, name) => {
    if (!connectionSpecific.has(name)) fields.push({ name, value })
  })
  const length = request.headers.get("content-length")
  return {
    method: request.method,
    scheme: protocol.slice(0, -1),
    path: `${pathname}${search}`,
    authority: host,
    fields,
    contentLength: length === null ? -1 : Number(length),
    expectsContinue: false,
  }
}

/** What a runtime of the edge gives beside a request. */
export interface ExecutionContext {
  /** Keeps what the request began alive until a promise has settled. */
  readonly waitUntil: (work: Promise<unknown>) => void
}

export class FetchExchange implements Exchange {
  readonly head: RequestHead
  readonly peer: Peer = { address: undefined }
  readonly hasTrailers = false
  readonly maxHeaderListSize = Number.POSITIVE_INFINITY
  readonly waitUntil: ((work: Promise<unknown>) => void) | undefined
  closed = false
  private readonly request: Request
  private readonly resolve: (response: Response) => void
  private readonly aborted = () => this.lost()
  private handler: RequestHandler | undefined
  private reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  private unconsumed = 0
  private resume: (() => void) | undefined
  // What is sent in the turn of the head: most responses are whole by its end.
  private early: Array<Uint8Array> | undefined
  private body: ReadableStreamDefaultController<Uint8Array> | undefined

  constructor(request: Request, resolve: (response: Response) => void, context: ExecutionContext | undefined) {
    // Workers take it of its own object only.
    this.waitUntil = context && ((work) => context.waitUntil(work))
    this.request = request
    this.resolve = resolve
    this.head = headOf(request)
  }

  /** Gives the request to its handler, piece by piece as it consumes them. */
  handle(handler: RequestHandler): void {
    this.handler = handler
    const { signal, body } = this.request
    if (this.closed) return void body?.cancel().catch(() => {})
    if (signal.aborted) return this.lost()
    signal.addEventListener("abort", this.aborted)
    if (body === null) return handler.end(noTrailers)
    this.reader = body.getReader()
    this.read(this.reader, handler).catch(this.aborted)
  }

  private async read(reader: ReadableStreamDefaultReader<Uint8Array>, handler: RequestHandler): Promise<void> {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      if (this.closed) return
      this.unconsumed += next.value.length
      handler.data(next.value, 0, next.value.length)
      if (this.unconsumed < readAhead || this.closed) continue
      await new Promise<void>((resume) => {
        this.resume = resume
      })
    }
    if (!this.closed) handler.end(noTrailers)
  }

  consumed(length: number): void {
    this.unconsumed -= length
    if (this.unconsumed < readAhead) this.goOn()
  }

  private goOn(): void {
    const { resume } = this
    this.resume = undefined
    resume?.()
  }

  sendHeaders([status, ...fields]: ReadonlyArray<Field>, endStream: boolean): void {
    if (this.closed) return
    const headers = new Headers()
    for (const { name, value } of fields) headers.append(name, value)
    const init = { status: Number(status?.value), headers }
    if (endStream) {
      this.close()
      return this.resolve(new Response(null, init))
    }
    this.early = []
    queueMicrotask(() => this.respond(init))
  }

  private respond(init: ResponseInit): void {
    const { early = [] } = this
    this.early = undefined
    if (this.closed) return this.resolve(new Response(joined(early), init))
    const stream = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.body = controller
        for (const bytes of early) controller.enqueue(bytes)
      },
      pull: () => this.handler?.drained(),
      cancel: () => this.lost(),
    })
    this.resolve(new Response(stream, init))
  }

  sendData(bytes: Uint8Array): boolean {
    if (this.closed) return true
    if (this.early !== undefined) {
      this.early.push(bytes)
      return false
    }
    this.body?.enqueue(bytes)
    return (this.body?.desiredSize ?? 0) > 0
  }

  sendEnd(): void {
    if (this.closed) return
    this.close()
    this.body?.close()
  }

  reset(): void {
    if (this.closed) return
    const begun = this.early !== undefined || this.body !== undefined
    this.close()
    if (begun) this.body?.error(new Error("the response was cut short"))
    else this.resolve(new Response(null, { status: 500 }))
  }

  /** The client has gone: nobody takes the response. */
  private lost(): void {
    if (this.closed) return
    this.reset()
    this.handler?.reset(errorCode.cancel)
  }

  private close(): void {
    this.closed = true
    this.request.signal.removeEventListener("abort", this.aborted)
    this.goOn()
    // What is left of the request is of no use to a call that has its response.
    this.reader?.cancel().catch(() => {})
  }
}

const joined = (parts: ReadonlyArray<Uint8Array>): Uint8Array<ArrayBuffer> => {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
