/**
 * Requests that Connect-ES refuses by an HTTP status alone: with a text, too, that says what would be taken.
 */
import {
  createAsyncIterable,
  type UniversalHandler,
  type UniversalHandlerFn,
  type UniversalServerResponse,
} from "@connectrpc/connect/protocol"

const unary = "application/json or application/proto"
const stream = "application/connect+json or application/connect+proto, with each message in an envelope"

const explain = ({ status, header, body }: UniversalServerResponse, handler: UniversalHandler): string | undefined => {
  if (body !== undefined || header !== undefined) return undefined
  if (status === 405) return `a call of this method is a ${handler.allowedMethods.join(" or a ")}`
  if (status !== 415) return undefined
  return `a call of this method has the content-type ${handler.method.methodKind === "unary" ? unary : stream}, or one of gRPC's`
}

/** The handler, with answers that say what to do. */
export const explained =
  (handler: UniversalHandler): UniversalHandlerFn =>
  async (request) => {
    const answer = await handler(request)
    const text = explain(answer, handler)
    if (text === undefined) return answer
    const header = new Headers({ "content-type": "text/plain; charset=utf-8" })
    // RFC 9110, section 15.5.6.
    if (answer.status === 405) header.set("allow", handler.allowedMethods.join(", "))
    return { ...answer, header, body: createAsyncIterable([new TextEncoder().encode(`${text}\n`)]) }
  }
