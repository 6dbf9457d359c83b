/**
 * Requests that two readers of HTTP/1.1 could take in two ways, or that are not well-formed, and the status of each.
 *
 * Source: RFC 9112; RFC 9110; and the collections of requests that got past proxies ("HTTP Desync Attacks" by James
 * Kettle, the tests of llhttp and of net/http).
 */

export interface Odd {
  readonly name: string
  readonly bytes: string
  readonly status: number
}

const body = '{"n":1}'
const post = "POST /pi.PiCalculator/Calc HTTP/1.1\r\n"
const json = "content-type: application/json\r\n"
const host = "host: localhost\r\n"

/** A whole request with other lines for its first, its Host, its framing and its body. */
const odd = (
  name: string,
  status: number,
  { first = post, hosts = host, framing = `content-length: ${body.length}\r\n`, content = body, more = "" } = {},
): Odd => ({ name, status, bytes: `${first}${hosts}${json}${more}${framing}\r\n${content}` })

const length = (value: string) => ({ framing: `content-length: ${value}\r\n` })
const coding = (value: string, content = '7\r\n{"n":1}\r\n0\r\n\r\n') => ({
  framing: `transfer-encoding: ${value}\r\n`,
  content,
})
const chunks = (content: string) => coding("chunked", content)
const whole = '7\r\n{"n":1}\r\n'
const line = (first: string) => ({ first: `${first}\r\n` })
const target = (of: string) => line(`POST ${of} HTTP/1.1`)
const hosts = (...lines: ReadonlyArray<string>) => ({ hosts: lines.map((one) => `${one}\r\n`).join("") })
const more = (text: string) => ({ more: text })

export const oddRequests: ReadonlyArray<Odd> = [
  // ---- What is well-formed, and answered
  odd("a body with its length", 200),
  odd("a body in a chunk", 200, coding("chunked")),
  odd("Chunked in capitals", 200, coding("CHUNKED")),
  odd("spaces around chunked", 200, coding(" \t chunked \t ")),
  odd("a chunk with leading zeros", 200, chunks('0007\r\n{"n":1}\r\n000\r\n\r\n')),
  odd("a chunk with an extension", 200, chunks('7;a=b;c="d"\r\n{"n":1}\r\n0;e\r\n\r\n')),
  odd("two chunks", 200, chunks('3\r\n{"n\r\n4\r\n":1}\r\n0\r\n\r\n')),
  odd(
    "a chunk's size in capitals and in small letters",
    200,
    chunks(`1C\r\n{"n":1}${" ".repeat(21)}\r\n0a\r\n${" ".repeat(10)}\r\n0\r\n\r\n`),
  ),
  odd("a trailer", 200, chunks(`${whole}0\r\nx-check: 1\r\n\r\n`)),
  odd("a target in absolute form", 200, target("http://localhost/pi.PiCalculator/Calc")),
  odd("a target in absolute form with capitals in its host", 200, target("http://LOCALHOST/pi.PiCalculator/Calc")),
  odd("Host with a port", 200, hosts("host: localhost:8080")),
  odd("Host with an address of IPv6", 200, hosts("host: [::1]:8080")),
  odd("a length with spaces around", 200, length(`  ${body.length} \t`)),
  odd("bytes above 127 in a value", 200, more("x-name: \u00e9\u00ff\r\n")),
  odd("a value that is empty", 200, more("x-name:\r\n")),
  odd("a query", 200, target("/pi.PiCalculator/Calc?a=b")),

  // ---- The first line
  odd("two spaces behind the method", 400, line("POST  /pi.PiCalculator/Calc HTTP/1.1")),
  odd("two spaces before the version", 400, line("POST /pi.PiCalculator/Calc  HTTP/1.1")),
  odd("a space behind the version", 400, line("POST /pi.PiCalculator/Calc HTTP/1.1 ")),
  odd("a tab for a space", 400, line("POST /pi.PiCalculator/Calc\tHTTP/1.1")),
  odd("no version", 400, line("POST /pi.PiCalculator/Calc")),
  odd("no target", 400, line("POST HTTP/1.1")),
  odd("a method alone", 400, line("POST ")),
  odd("a version in small letters", 400, line("POST /pi.PiCalculator/Calc http/1.1")),
  odd("a version of two digits", 400, line("POST /pi.PiCalculator/Calc HTTP/1.10")),
  odd("a version without a minor", 400, line("POST /pi.PiCalculator/Calc HTTP/1")),
  odd("a version with a plus", 400, line("POST /pi.PiCalculator/Calc HTTP/+1.1")),
  odd("HTTP/0.9", 505, line("POST /pi.PiCalculator/Calc HTTP/0.9")),
  odd("HTTP/1.2", 505, line("POST /pi.PiCalculator/Calc HTTP/1.2")),
  odd("HTTP/2.0 without its preface", 505, line("POST /pi.PiCalculator/Calc HTTP/2.0")),
  odd("a space in the target", 400, target("/pi.PiCalculator /Calc")),
  odd("a byte above 127 in the target", 400, target("/pi.PiCalculator/Calc\u00e9")),
  odd("a fragment", 400, target("/pi.PiCalculator/Calc#a")),
  odd("a target without a slash", 400, target("pi.PiCalculator/Calc")),
  odd("an asterisk for another method than OPTIONS", 400, target("*")),
  odd("a scheme that isn't HTTP", 400, target("ftp://localhost/pi.PiCalculator/Calc")),
  odd("CONNECT", 501, line("CONNECT localhost:80 HTTP/1.1")),
  odd("a NUL in the target", 400, target("/pi.PiCalculator/\0Calc")),
  odd("a first line longer than a head may be", 414, target(`/${"a".repeat(17_000)}`)),

  // ---- Host
  odd("no Host", 400, hosts()),
  odd("two Hosts", 400, hosts("host: localhost", "host: example.org")),
  odd("the same Host twice", 400, hosts("host: localhost", "host: localhost")),
  odd("Host in capitals beside host", 400, hosts("host: localhost", "HOST: localhost")),
  odd("an empty Host", 400, hosts("host:")),
  odd("Host with a path", 400, hosts("host: localhost/admin")),
  odd("Host with a user", 400, hosts("host: user@localhost")),
  odd("Host with a space", 400, hosts("host: local host")),
  odd("Host with a list", 400, hosts("host: localhost, example.org")),
  odd("Host with two ports", 400, hosts("host: localhost:80:81")),
  odd("Host with a port that is none", 400, hosts("host: localhost:http")),
  odd("Host with a bracket", 400, hosts("host: [")),
  odd("Host with a query", 400, hosts("host: localhost?a")),
  odd("Host with a backslash", 400, hosts("host: localhost\\a")),
  odd("Host with a percent sign", 400, hosts("host: local%68ost")),
  odd("Host with a scheme", 400, hosts("host: http://localhost")),
  odd("a target for another host than Host", 400, target("http://example.org/pi.PiCalculator/Calc")),
  odd("a target for another port than Host", 400, target("http://localhost:81/pi.PiCalculator/Calc")),
  odd("a target with a user", 400, target("http://user@localhost/pi.PiCalculator/Calc")),
  odd("a target in absolute form without a host", 400, target("http:///pi.PiCalculator/Calc")),

  // ---- Fields
  odd("a space before the colon", 400, more("x-name : 1\r\n")),
  odd("a tab before the colon", 400, more("x-name\t: 1\r\n")),
  odd("a space before the colon of Content-Length", 400, { framing: `content-length : ${body.length}\r\n` }),
  odd("a space before the colon of Transfer-Encoding", 400, {
    ...coding("chunked"),
    framing: "transfer-encoding : chunked\r\n",
  }),
  odd("a value that is folded", 400, more("x-name: 1\r\n 2\r\n")),
  odd("a value that is folded by a tab", 400, more("x-name: 1\r\n\t2\r\n")),
  odd("a folded Transfer-Encoding", 400, { ...coding("chunked"), framing: "transfer-encoding:\r\n chunked\r\n" }),
  odd("a first field with a space in front", 400, { hosts: ` ${host}` }),
  odd("a line without a colon", 400, more("x-name\r\n")),
  odd("a line that begins with a colon", 400, more(": 1\r\n")),
  odd("a name with a space", 400, more("x name: 1\r\n")),
  odd("a name with a byte above 127", 400, more("x-n\u00e4me: 1\r\n")),
  odd("a name in quotes", 400, more('"x-name": 1\r\n')),
  odd("a name with a slash", 400, more("x/name: 1\r\n")),
  odd("a name with a NUL", 400, more("x-na\0me: 1\r\n")),
  odd("a value with a NUL", 400, more("x-name: a\0b\r\n")),
  odd("a value with a vertical tab", 400, more("x-name: a\x0bb\r\n")),
  odd("a value with a DEL", 400, more("x-name: a\x7fb\r\n")),
  odd("a value with a CR", 400, more("x-name: a\rb\r\n")),
  odd("a CR behind which a field hides", 400, more("x-name: a\rtransfer-encoding: chunked\r\n")),
  odd("a line that ends with LF alone", 400, more("x-name: 1\n")),
  odd("a LF behind which a field hides", 400, more("x-name: a\ntransfer-encoding: chunked\r\n")),
  odd("a line that ends with two CRs", 400, more("x-name: 1\r\r\n")),
  odd("a first line that ends with LF alone", 400, { first: post.replace("\r\n", "\n") }),
  odd("a head that ends with LF alone", 400, { framing: `content-length: ${body.length}\r\n\n` }),
  odd("more fields than are taken", 431, more("a: b\r\n".repeat(600))),
  odd("a field longer than a head may be", 431, more(`x-name: ${"a".repeat(17_000)}\r\n`)),
  odd("an expectation that nobody knows", 417, more("expect: the unexpected\r\n")),

  // ---- Content-Length
  odd("a length with a plus", 400, length("+7")),
  odd("a length with a minus", 400, length("-7")),
  odd("a length in hexadecimal digits", 400, length("0x7")),
  odd("a length with a fraction", 400, length("7.0")),
  odd("a length with an exponent", 400, length("7e0")),
  odd("a length with a space in it", 400, length("7 7")),
  odd("a length with an underscore", 400, length("0_7")),
  odd("a length in a list of the same", 400, length("7, 7")),
  odd("a length in a list of two", 400, length("7, 8")),
  odd("an empty length", 400, length("")),
  odd("a length in quotes", 400, length('"7"')),
  odd("a length beyond what is exact", 400, length("9".repeat(20))),
  odd("a length of 2^64 and 7", 400, length("18446744073709551623")),
  odd("a length that is no number", 400, length("seven")),
  odd("a length with a space that isn't one", 400, length("\u00a07")),
  odd("two lengths", 400, { framing: "content-length: 7\r\ncontent-length: 8\r\n" }),
  odd("the same length twice", 400, { framing: "content-length: 7\r\ncontent-length: 7\r\n" }),
  odd("a length in capitals beside another", 400, { framing: "content-length: 7\r\nCONTENT-LENGTH: 0\r\n" }),

  // ---- Transfer-Encoding
  odd("a length before chunked", 400, { ...coding("chunked"), more: "content-length: 7\r\n" }),
  odd("a length behind chunked", 400, {
    ...coding("chunked"),
    framing: "transfer-encoding: chunked\r\ncontent-length: 7\r\n",
  }),
  odd("a length of nothing beside chunked", 400, { ...coding("chunked"), more: "content-length: 0\r\n" }),
  odd("identity alone", 400, coding("identity")),
  odd("identity, and then chunked", 501, coding("identity, chunked")),
  odd("gzip, and then chunked", 501, coding("gzip, chunked")),
  odd("chunked, and then gzip", 400, coding("chunked, gzip")),
  odd("chunked, and then identity", 400, coding("chunked, identity")),
  odd("chunked twice in a list", 400, coding("chunked, chunked")),
  odd("chunked twice", 400, { ...coding("chunked"), more: "transfer-encoding: chunked\r\n" }),
  odd("chunked, and then something in a field of its own", 400, {
    ...coding("chunked"),
    framing: "transfer-encoding: chunked\r\ntransfer-encoding: x\r\n",
  }),
  odd("something in a field of its own, and then chunked", 501, {
    ...coding("chunked"),
    more: "transfer-encoding: x\r\n",
  }),
  odd("xchunked", 400, coding("xchunked")),
  odd("chunked in quotes", 400, coding('"chunked"')),
  odd("chunked with a parameter", 400, coding("chunked;q=1")),
  odd("chunked with a space that isn't one", 400, coding("\u00a0chunked")),
  odd("chunked behind a vertical tab", 400, coding("\x0bchunked")),
  odd("chunked behind an empty member", 501, coding(", chunked")),
  odd("chunked before an empty member", 400, coding("chunked,")),
  odd("an empty Transfer-Encoding", 400, coding("")),
  odd("chunked over HTTP/1.0", 400, { ...coding("chunked"), first: post.replace("1.1", "1.0") }),
  odd("chunked behind a hyphen", 400, coding("-chunked")),

  // ---- Chunks
  odd("a chunk without a size", 400, chunks('\r\n{"n":1}\r\n0\r\n\r\n')),
  odd("a size with 0x", 400, chunks('0x7\r\n{"n":1}\r\n0\r\n\r\n')),
  odd("a size with a plus", 400, chunks('+7\r\n{"n":1}\r\n0\r\n\r\n')),
  odd("a size with a minus", 400, chunks('-7\r\n{"n":1}\r\n0\r\n\r\n')),
  odd("a size with a space behind", 400, chunks('7 \r\n{"n":1}\r\n0\r\n\r\n')),
  odd("a size with a space in front", 400, chunks(' 7\r\n{"n":1}\r\n0\r\n\r\n')),
  odd("a size that is no number", 400, chunks('g\r\n{"n":1}\r\n0\r\n\r\n')),
  odd("a size of 64 bits", 400, chunks('ffffffffffffffff\r\n{"n":1}\r\n0\r\n\r\n')),
  odd("a size of 2^64 and 7", 400, chunks('10000000000000007\r\n{"n":1}\r\n0\r\n\r\n')),
  odd("a size with many zeros", 400, chunks(`${"0".repeat(20)}7\r\n{"n":1}\r\n0\r\n\r\n`)),
  odd("a size that ends with LF alone", 400, chunks('7\n{"n":1}\r\n0\r\n\r\n')),
  odd("a size that ends with CR alone", 400, chunks('7\r{"n":1}\r\n0\r\n\r\n')),
  odd("a chunk longer than its size", 400, chunks('6\r\n{"n":1}\r\n0\r\n\r\n')),
  odd("a chunk that ends with LF alone", 400, chunks('7\r\n{"n":1}\n0\r\n\r\n')),
  odd("a chunk that ends with two other bytes", 400, chunks('7\r\n{"n":1}XX0\r\n\r\n')),
  odd("an extension with a LF", 400, chunks('7;a\nb\r\n{"n":1}\r\n0\r\n\r\n')),
  odd("an extension with a CR", 400, chunks('7;a\rb\r\n{"n":1}\r\n0\r\n\r\n')),
  odd("an extension longer than is taken", 400, chunks(`7;${"a".repeat(300)}\r\n{"n":1}\r\n0\r\n\r\n`)),
  odd("more extensions than are taken", 400, chunks(`1;${"a".repeat(200)}\r\n \r\n`.repeat(100))),
  odd("the last chunk with LF alone", 400, chunks(`${whole}0\n\r\n`)),
  odd("an end with LF alone", 400, chunks(`${whole}0\r\n\n`)),
  odd("a trailer that is no field", 400, chunks(`${whole}0\r\nx\r\n\r\n`)),
  odd("a trailer that is folded", 400, chunks(`${whole}0\r\nx: 1\r\n 2\r\n\r\n`)),
  odd("a length for a trailer", 400, chunks(`${whole}0\r\ncontent-length: 7\r\n\r\n`)),
  odd("a Transfer-Encoding for a trailer", 400, chunks(`${whole}0\r\ntransfer-encoding: chunked\r\n\r\n`)),
  odd("a Host for a trailer", 400, chunks(`${whole}0\r\nhost: example.org\r\n\r\n`)),
  odd("more trailers than are taken", 431, chunks(`${whole}0\r\n${"a: b\r\n".repeat(600)}\r\n`)),
]
