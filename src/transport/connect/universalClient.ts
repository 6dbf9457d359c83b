/**
 * Connect-ES's client side over our HTTP/2: what it takes for an HTTP client.
 */
import { Code, ConnectError } from "@connectrpc/connect"
import type { UniversalClientFn, UniversalClientRequest, UniversalClientResponse } from "@connectrpc/connect/protocol"
import type { ResponseHandler } from "../http2/client.ts"
import { errorCode } from "../http2/frames.ts"
import type { Field } from "../http2/hpack.ts"
import { type Line, LineClosed, LineError, type Opened } from "../net/dial.ts"
import { Body } from "./body.ts"
import { fieldsToHeaders, headersToFields } from "./fields.ts"

// What a server says by cutting a stream short (grpc/doc/PROTOCOL-HTTP2.md, "Errors").
const resetError = (code: number): ConnectError => {
  switch (code) {
    case errorCode.refusedStream:
      return new ConnectError("the server refused the call", Code.Unavailable)
    case errorCode.cancel:
      return new ConnectError("the server cancelled the call", Code.Canceled)
    case errorCode.enhanceYourCalm:
      return new ConnectError("the server or its answer is beyond a limit", Code.ResourceExhausted)
    case errorCode.inadequateSecurity:
      return new ConnectError("the server asks for more security", Code.PermissionDenied)
    default:
      return new ConnectError(`the server reset the call with code ${code}`, Code.Internal)
  }
}

// Why a call couldn't be carried: over a line that was cut, or in what Connect-ES itself throws.
const lost = (cause: unknown): ConnectError => {
  if (cause instanceof LineClosed) return new ConnectError(cause.message, Code.Canceled)
  return cause instanceof LineError
    ? new ConnectError(cause.message, Code.Unavailable, undefined, undefined, cause.cause)
    : ConnectError.from(cause)
}

const requestFields = ({ method, url, header }: UniversalClientRequest): ReadonlyArray<Field> => {
  const { protocol, host, pathname, search } = new URL(url)
  return [
    { name: ":method", value: method },
    { name: ":scheme", value: protocol.slice(0, -1) },
    { name: ":path", value: `${pathname}${search}` },
    { name: ":authority", value: host },
    ...headersToFields(header),
  ]
}

/** An HTTP client for Connect-ES's transports on a line. */
export const universalClient =
  (line: Line): UniversalClientFn =>
  (request) =>
    new Promise<UniversalClientResponse>((resolve, reject) => {
      const trailer = new Headers()
      let opened: Opened | undefined
      let over = false
      let resume = () => {}
      const body = new Body((length) => opened?.connection.taken(opened.stream, length))

      /** Ends the round without an end of the response: whoever waits for either part of it hears why. */
      const fail = (error: ConnectError) => {
        over = true
        reject(error)
        body.fail(error)
        resume()
        if (opened !== undefined) opened.connection.reset(opened.stream, errorCode.cancel)
      }
      const cancel = () => fail(ConnectError.from(request.signal?.reason, Code.Canceled))

      const handler: ResponseHandler = {
        head: ({ status, fields }) => resolve({ status, header: fieldsToHeaders(fields), body, trailer }),
        data: (bytes, start, end) => body.push(bytes, start, end),
        end: (trailers) => {
          over = true
          request.signal?.removeEventListener("abort", cancel)
          fieldsToHeaders(trailers, trailer)
          body.end()
          resume()
          // A server that has answered wants no more of the request.
          if (opened !== undefined) opened.connection.reset(opened.stream, errorCode.cancel)
        },
        reset: (code) => {
          request.signal?.removeEventListener("abort", cancel)
          fail(opened?.connection.over === true ? lost(new LineError("the connection was lost")) : resetError(code))
        },
        drained: () => resume(),
      }

      const send = async ({ connection, stream }: Opened) => {
        const iterator = request.body?.[Symbol.asyncIterator]()
        for (
          let next = await iterator?.next();
          next !== undefined && next.done !== true;
          next = await iterator?.next()
        ) {
          if (!over && !connection.sendData(stream, next.value)) {
            await new Promise<void>((go) => {
              resume = go
            })
          }
          if (over) {
            await iterator?.return?.()
            return
          }
        }
        connection.sendEnd(stream)
      }

      if (request.signal?.aborted === true) return cancel()
      request.signal?.addEventListener("abort", cancel)
      line
        .open(requestFields(request), handler)
        .then((one) => {
          opened = one
          // Cancelled while it was being opened.
          if (over) one.connection.reset(one.stream, errorCode.cancel)
          else return send(one)
        })
        .catch((error) => fail(lost(error)))
    })
