import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { Result } from "effect"
import { parseAddress } from "../../../src/transport/redis/address.ts"

const parsed = (address: string) => Result.getOrThrow(parseAddress(address))

describe("the address of a Redis", () => {
  test("has a host, and may have a port, a user, a password and a database", () => {
    assert.deepEqual(parsed("redis://example.org"), {
      text: "redis://example.org",
      hosts: [{ host: "example.org", port: 6379 }],
      cluster: false,
      encrypted: false,
      username: undefined,
      password: undefined,
      database: 0,
    })
    const { text, hosts, username, password, database, encrypted } = parsed("rediss://me:a%3Ab%40%2F:c@[::1]:7000/12")
    assert.deepEqual([text, hosts], ["rediss://…@[::1]:7000/12", [{ host: "::1", port: 7000 }]])
    assert.deepEqual([username, password, database, encrypted], ["me", "a:b@/:c", 12, true])
    assert.equal(parsed("redis://:secret@localhost").password, "secret")
    assert.equal(parsed("redis://me:100%@localhost").password, "100%")
  })

  test("names several nodes of a cluster", () => {
    const { hosts, cluster, encrypted } = parsed("rediss-cluster://me:secret@a:1,b,[::1]:2")
    assert.deepEqual([cluster, encrypted], [true, true])
    assert.deepEqual(hosts, [
      { host: "a", port: 1 },
      { host: "b", port: 6379 },
      { host: "::1", port: 2 },
    ])
  })

  test("is refused with what is wrong with it, and never with the password", () => {
    for (const [address, pattern] of [
      ["http://me:hidden@localhost", /is not a Redis's address/],
      ["localhost:6379", /is not a Redis's address/],
      ["redis://me:hidden@", /is not a Redis's address/],
      ["redis://me:hid/den@localhost", /is not a Redis's address/],
      ["redis://me:hid@den@localhost", /is not a Redis's address/],
      ["redis://me:hidden@localhost/first", /is not a Redis's address/],
      ["redis://me:hidden@localhost:0", /has no host and port in "localhost:0"/],
      ["redis://me:hidden@localhost:65536", /has no host and port/],
      ["redis-cluster://me:hidden@a:1,,b", /has no host and port in ""/],
      ["redis://me:hidden@a,b", /several hosts, which only a cluster has/],
      ["redis-cluster://me:hidden@a,b/1", /a cluster has only the one/],
      ["", /is not a Redis's address/],
    ] as const) {
      const { message, address: shown } = Result.getOrThrow(Result.flip(parseAddress(address)))
      assert.match(message, pattern, address)
      assert.ok(!/hid|den/.test(message + shown), message)
    }
  })
})
