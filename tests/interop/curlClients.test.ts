/**
 * curl against our server: each version of HTTP, with TLS and without.
 */
import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect } from "effect"
import { assertNear, pi } from "./numbers.ts"
import { printedBy, shell } from "./processes.ts"
import { ca, runtimes, testServed } from "./programs.ts"
import { shared, test } from "./support.ts"

const json = "-H 'content-type: application/json'"
const grpc = "-H 'content-type: application/grpc' -H 'te: trailers'"

// A flag, four bytes of length, and `PiRequest { n: 999 }`.
const request999 = "printf '\\000\\000\\000\\000\\003\\010\\347\\007'"

// Headers, trailers too, and then what came as content, in hexadecimal.
const shown = (options: string) =>
  `body=$(mktemp); curl -s ${options} -D - -o "$body"; od -An -v -tx1 "$body" | tr -d ' \\n'; rm "$body"`

const get = "?connect=v1&encoding=json&message=%7B%22n%22:999%7D"

/** How curl is told a version of HTTP, and which one it must have spoken. */
const versions = {
  false: [
    ["by default", "", "1.1"],
    ["--http1.0", "--http1.0", "1.1"],
    ["--http1.1", "--http1.1", "1.1"],
    // It offers an upgrade, which nobody has to take.
    ["--http2", "--http2", "1.1"],
    ["--http2-prior-knowledge", "--http2-prior-knowledge", "2"],
  ],
  true: [
    ["by default", "", "2"],
    ["--http1.1", "--http1.1", "1.1"],
    ["--http2", "--http2", "2"],
    ["--no-alpn", "--no-alpn", "1.1"],
  ],
} as const

for (const runtime of runtimes) {
  for (const secure of [false, true]) {
    describe(`curl and our server on ${runtime}${secure ? " with TLS" : ""}`, () => {
      const server = shared(testServed(runtime, secure))
      const tls = secure ? `--cacert ${ca}` : ""
      const http2 = secure ? `${tls} --http2` : "--http2-prior-knowledge"
      const http1 = `${tls} --http1.1`
      const url = (method: string) => `'${server().url}/${method}'`
      const calc = (more = "") => url(`pi.PiCalculator/Calc${more}`)
      const curl = Effect.fnUntraced(function* (args: string) {
        return printedBy(yield* shell(`curl -sS ${args}`))
      })

      const assert999 = (text: string) => {
        const [, value] = /^\{"value":([\d.]+)\}/.exec(text) ?? assert.fail(text)
        assertNear(Number(value), pi(999))
      }

      for (const [name, option, version] of versions[`${secure}`]) {
        test(`a POST and a GET of JSON, ${name}, are answered by HTTP/${version}`, () =>
          Effect.gen(function* () {
            for (const request of [`-d '{"n":999}' ${json} ${calc()}`, calc(get)]) {
              const printed = yield* curl(`${tls} ${option} -w '\\n%{response_code} %{http_version}' ${request}`)
              assert999(printed)
              assert.ok(printed.endsWith(`\n200 ${version}`), printed)
            }
          }))
      }

      test("a call of gRPC gets its answer, and its trailers behind it", () =>
        Effect.gen(function* () {
          const line = `${request999} | { ${shown(`${http2} --data-binary @- ${grpc} ${calc()}`)}; }`
          const printed = (yield* shell(line)).stdout
          const [head = "", trailers = ""] = printed.split("\r\n\r\n")
          assert.match(head, /^HTTP\/2 200/)
          assert.match(head, /\ncontent-type: application\/grpc/)
          assert.doesNotMatch(head, /grpc-status/)
          assert.match(trailers, /^grpc-status: 0\r\n/m)
          const [, double = ""] = /0000000009(?:09)([0-9a-f]{16})$/.exec(printed) ?? assert.fail(printed)
          assertNear(Buffer.from(double, "hex").readDoubleLE(), pi(999))
        }))

      test("an error of gRPC has its status and message where its headers are", () =>
        Effect.gen(function* () {
          const line = `printf '\\000\\000\\000\\000\\000' | { ${shown(`${http2} --data-binary @- ${grpc} ${calc()}`)}; }`
          const printed = (yield* shell(line)).stdout
          assert.match(printed, /^HTTP\/2 200/)
          assert.match(printed, /^grpc-status: 3\r\n/m)
          assert.match(printed, /^grpc-message: request number should be positive\r\n/m)
        }))

      // Without TLS curl 7.88 can't use a connection of HTTP/2 again, whosoever the server is.
      for (const [name, http] of secure
        ? [
            ["HTTP/1.1", http1],
            ["HTTP/2", http2],
          ]
        : [["HTTP/1.1", http1]]) {
        test(`requests one after another use one connection, over ${name}`, () =>
          Effect.gen(function* () {
            const one = `-d '{"n":999}' ${json} -w '\\n%{num_connects}\\n' ${calc()}`
            const printed = yield* curl(`${http} ${one} --next ${http} -sS ${one}`)
            const [first = "", connects, second = "", connectsAgain] = printed.split("\n")
            assert999(first)
            assert999(second)
            assert.deepEqual([connects, connectsAgain], ["1", "0"])
          }))
      }

      for (const [name, http] of [
        ["HTTP/1.1", http1],
        ["HTTP/2", http2],
      ] as const) {
        test(`an error of Connect has its status and its JSON, over ${name}`, () =>
          Effect.gen(function* () {
            const printed = yield* curl(`${http} -w '\\n%{response_code}' -d '{"n":0}' ${json} ${calc()}`)
            const [body = "", code] = printed.split("\n")
            assert.equal(code, "400")
            assert.equal(JSON.parse(body).code, "invalid_argument")
            assert.equal(JSON.parse(body).message, "request number should be positive")
          }))

        // Over HTTP/1.1 curl asks first whether it may send so much.
        test(`a body of 2 MB arrives whole, sized and chunked, over ${name}`, () =>
          Effect.gen(function* () {
            const body = `printf '{"payload":{"body":"%s"},"responseSize":3}' "$(head -c 1500000 /dev/zero | base64 -w 0)"`
            const call = url("grpc.testing.TestService/UnaryCall")
            for (const how of ["", "-H 'transfer-encoding: chunked'"]) {
              const printed = yield* shell(`${body} | curl -sS ${http} ${json} ${how} --data-binary @- ${call}`)
              assert.equal(printedBy(printed), '{"payload":{"body":"AAAA"}}')
            }
          }))

        test(`an answer is compressed for who accepts it, and a compressed request is read, over ${name}`, () =>
          Effect.gen(function* () {
            const request = `printf '{"responseSize":30000}' | gzip`
            const head = "-H 'content-encoding: gzip'"
            const options = `${http} ${json} ${head} --compressed --data-binary @-`
            const call = url("grpc.testing.TestService/UnaryCall")
            const size = "-w '\\n%{size_download} %header{content-encoding}'"
            const printed = printedBy(yield* shell(`${request} | curl -sS ${options} ${size} ${call}`))
            assert.equal(JSON.parse(printed.split("\n")[0] ?? "").payload.body, "A".repeat(40_000))
            const [, bytes, encoding] = /\n(\d+) (\w+)$/.exec(printed) ?? assert.fail(printed.slice(-100))
            assert.ok(Number(bytes) < 1000)
            assert.equal(encoding, "gzip")
          }))

        test(`a path that isn't there is 404, over ${name}`, () =>
          Effect.gen(function* () {
            const printed = yield* curl(`${http} -o /dev/null -w '%{response_code}' ${url("pi.PiCalculator/Nothing")}`)
            assert.equal(printed, "404")
          }))
      }
    })
  }
}
