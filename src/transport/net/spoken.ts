/**
 * What a client speaks, by its first bytes.
 *
 * Source: RFC 9113, section 3.4, and RFC 9112, section 3: how the first line begins.
 */
const preface = "PRI * "
// A method and a space. All methods there are have capitals and hyphens alone (RFC 9110, section 16.1).
const method = /^[A-Z-]{1,32} /
const methodBegun = /^[A-Z-]{0,32}$/

/** How many bytes are enough to tell. */
export const longestBeginning = 33

export const spokenIn = (text: string): "http/2" | "http/1.1" | "neither" | "unclear" => {
  if (text.startsWith(preface)) return "http/2"
  if (preface.startsWith(text)) return "unclear"
  if (method.test(text)) return "http/1.1"
  return methodBegun.test(text) ? "unclear" : "neither"
}
