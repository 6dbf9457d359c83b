import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe } from "node:test"
import { Effect } from "effect"
import { deadline } from "../../src/core/layers/deadline.ts"
import type { ConnectOptions } from "../../src/transport/channel.ts"
import { certificates, root, served } from "../e2e/command.ts"
import { test } from "../effect.ts"
import { dial } from "../transport/support.ts"
import { counting } from "./support.ts"

const pem = (name: string) => readFileSync(join(root, certificates, name), "utf8")
const ca = pem("ca.pem")
const secure = [`--cert=${certificates}/server.pem`, `--key=${certificates}/server.key`]

/** Why a call can't be made, which is found well before its deadline. */
const reason = (url: string, options: ConnectOptions = {}) =>
  Effect.gen(function* () {
    const client = yield* dial({ url }, options, deadline("15 seconds"))
    const { code, message } = yield* Effect.flip(client.calc({ n: 1 }))
    assert.equal(code, "unavailable", message)
    const to = `cannot connect to ${url}: `
    assert.ok(message.startsWith(to), message)
    return message.slice(to.length)
  })

describe("a server that can't be reached says why", () => {
  test("nothing listens there any more", () =>
    Effect.gen(function* () {
      const server = yield* counting()
      yield* server.kill
      const why = yield* reason(server.url)
      assert.equal(why, "nothing listens there: check the address, and that the server runs")
    }))

  test("there is no such host", () =>
    Effect.gen(function* () {
      // RFC 6761, section 6.4: no name ends so.
      const why = yield* reason("http://nowhere.invalid:8080")
      assert.match(why, /^there is no such host name: check its spelling$|^the host name can't be looked up now$/)
    }))

  test("its certificate is of nobody who is trusted, or has another name, or it asks for one", () =>
    Effect.gen(function* () {
      const { url } = yield* served(...secure)
      assert.match(yield* reason(url), /^its certificate is of no authority that is trusted here/)
      assert.match(yield* reason(url, { tls: { ca: pem("client.pem") } }), /^its certificate is of no authority/)
      assert.match(
        yield* reason(url, { tls: { ca, serverName: "another.example" } }),
        /^its certificate is for other names/,
      )
      const client = yield* dial({ url }, { tls: { ca } })
      yield* client.calc({ n: 1 })
      const strict = yield* served(...secure, `--client-ca=${certificates}/ca.pem`)
      assert.match(yield* reason(strict.url, { tls: { ca } }), /asks? for a certificate of the client's own/)
    }))

  test("it speaks no TLS, or nothing but TLS", () =>
    Effect.gen(function* () {
      const plain = yield* counting()
      const { url } = yield* served(...secure)
      for (const wrong of [plain.url.replace("http:", "https:"), url.replace("https:", "http:")]) {
        assert.match(yield* reason(wrong), /^it closes the connection before it speaks HTTP\/2: /)
      }
    }))
})
