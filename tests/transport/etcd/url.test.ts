import assert from "node:assert/strict"
import { test } from "node:test"
import { Redacted, Result } from "effect"
import { parseEtcdUrl } from "../../../src/transport/etcd/url.ts"

const parsed = (url: string) => {
  const { members, user, path } = Result.getOrThrow(parseEtcdUrl(url))
  return { members, path, user: user && { name: user.name, password: Redacted.value(user.password) } }
}

const fault = (url: string) => {
  const result = parseEtcdUrl(url)
  assert.ok(Result.isFailure(result), url)
  return result.failure
}

test("a URL names members, a user and what is behind them", () => {
  assert.deepEqual(parsed("etcd://one"), { members: ["http://one:2379"], user: undefined, path: "" })
  assert.deepEqual(parsed("etcd://one:80,[::1],10.0.0.1:1/pi"), {
    members: ["http://one:80", "http://[::1]:2379", "http://10.0.0.1:1"],
    user: undefined,
    path: "pi",
  })
  assert.deepEqual(parsed("etcds://ada@one:443/a/b"), {
    members: ["https://one:443"],
    user: { name: "ada", password: "" },
    path: "a/b",
  })
  assert.deepEqual(parsed("etcd://a%40da:p%3Aw:%2F@one/").user, { name: "a@da", password: "p:w:/" })
})

test("what is no URL of etcd is told, and nothing of a password in it", () => {
  for (const [url, what] of [
    ["etcd", "is not an address of etcd"],
    ["http://one:2379", "is not an address of etcd"],
    ["etcd://", "is not an address of etcd"],
    ["etcd:///pi", "is not an address of etcd"],
    ["etcd://one,/pi", "has a host that isn't one"],
    ["etcd://one:port", "has a host that isn't one"],
    ["etcd://one?x", "has a host that isn't one"],
    ["etcd://one:70000", "has a host that isn't one"],
    ["etcd://ada:%@one", "has a % before the @ that isn't written %25"],
    ["etcd://:secret@one", "has no user before the @"],
    ["etcd://ada:sec/ret@one", "has a host that isn't one"],
    ["etcd://ada:sec@ret@one", "has a host that isn't one"],
  ] as const) {
    const { message, address } = fault(url)
    assert.ok(message.includes(` ${what}: give a URL, such as etcd://127.0.0.1:2379`), `${url}: ${message}`)
    assert.doesNotMatch(`${message}${address}`, /sec|ret@/)
  }
  assert.equal(fault("etcd://ada:sec/ret@one").address, "etcd://…@one")
})
