/**
 * What a client speaks, by its first bytes.
 *
 * Source: RFC 9113, section 3.4, and RFC 9112, section 3: how the first line begins.
 */
const preface = "PRI * "
// A method that everybody knows and a space, or another one and how a target begins; all methods there are have capitals and
// hyphens alone (RFC 9110, section 16.1). Three words of capitals are a preface gone wrong.
const request = /^(?:(?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH) |[A-Z-]{1,32} [/*a-z])/
const requestBegun = /^[A-Z-]{0,32} ?$/

/** How many bytes are enough to tell. */
export const longestBeginning = 34

export const spokenIn = (text: string): "http/2" | "http/1.1" | "neither" | "unclear" => {
  if (text.startsWith(preface)) return "http/2"
  if (preface.startsWith(text)) return "unclear"
  if (request.test(text)) return "http/1.1"
  return requestBegun.test(text) ? "unclear" : "neither"
}
