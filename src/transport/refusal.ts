/**
 * Requests that no call comes of: the response is an HTTP status, and a text that says what would be taken.
 */
import type { Exchange, RequestHandler } from "./exchange.ts"
import type { Field } from "./http2/hpack.ts"

/** Nothing is left to do for an exchange that has its response: what is still to come of its request goes nowhere. */
export const responded = (exchange: Exchange): RequestHandler => ({
  data: (_, start, end) => exchange.consumed(end - start),
  end: () => {},
  reset: () => {},
  drained: () => {},
  stop: () => {},
})

/** Responds at once, without a look at the request's body: who sends one slowly would hold the exchange for as long. */
export const refuse = (
  exchange: Exchange,
  status: number,
  text: string,
  more: ReadonlyArray<Field> = [],
): RequestHandler => {
  const body = new TextEncoder().encode(`${text}\n`)
  const head = [
    { name: ":status", value: String(status) },
    { name: "content-type", value: "text/plain; charset=utf-8" },
    { name: "content-length", value: String(body.length) },
    ...more,
  ]
  exchange.sendHeaders(head, false)
  exchange.sendData(body)
  exchange.sendEnd()
  return responded(exchange)
}

// How long the rest of a request may take that is refused whatever it says.
const longestRest = 1000

/**
 * Responds once the request has ended, or a second has passed. Over HTTP/2 a response ends its stream: what the client does
 * wrong to that behind it would be ignored, and the client never told of it (RFC 9113, section 5.1).
 */
const atItsEnd = (exchange: Exchange, respond: () => void): RequestHandler => {
  const end = () => {
    clearTimeout(late)
    respond()
  }
  const late = setTimeout(respond, longestRest)
  return { ...responded(exchange), end, reset: () => clearTimeout(late), stop: end }
}

/** For a path that nobody serves. */
export const notFound = (exchange: Exchange): RequestHandler => {
  const respond = () => refuse(exchange, 404, "not found: a call is a POST to /package.Service/Method")
  return exchange.hasTrailers ? atItsEnd(exchange, respond) : respond()
}
