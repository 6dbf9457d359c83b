import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Duration, Effect, Redacted, Stream } from "effect"
import { etcd } from "../../../src/transport/etcd/registry.ts"
import { test } from "../../effect.ts"
import { withLog } from "../support.ts"
import { certificates, etcdctl, etcdServer, type Member } from "./server.ts"
import { watching } from "./watching.ts"

const ttl = Duration.seconds(60)
const password = "p@ss/w:rd, %"

/** Lets in the user `ada` alone, and her only to `pi`. */
const closeFor = Effect.fnUntraced(function* (member: Member) {
  yield* etcdctl(member, "user", "add", "root:root")
  yield* etcdctl(member, "user", "grant-role", "root", "root")
  yield* etcdctl(member, "role", "add", "pi")
  yield* etcdctl(member, "role", "grant-permission", "pi", "readwrite", "--prefix=true", "pi/")
  yield* etcdctl(member, "user", "add", `ada:${password}`)
  yield* etcdctl(member, "user", "grant-role", "ada", "pi")
  yield* etcdctl(member, "auth", "enable")
})

const withUser = (member: Member, user: string, secret: string): string =>
  member.url.replace("//", `//${user}:${encodeURIComponent(secret)}@`)

test("a user's password, in the URL or the options, opens etcd as far as the user may go", () =>
  Effect.gen(function* () {
    const member = yield* etcdServer()
    yield* closeFor(member)
    const registry = yield* etcd(withUser(member, "ada", password))
    const { until } = yield* watching(registry, "pi")
    const { renew, deregister } = yield* registry.register("pi", { address: "a:1" }, ttl)
    yield* until("a:1")
    yield* renew
    const options = { user: { name: "ada", password: Redacted.make(password) } }
    const other = yield* etcd(member.url, options)
    yield* other.register("pi", { address: "b:1" }, ttl)
    yield* until("a:1", "b:1")
    yield* deregister
    yield* until("b:1")
    const denied = yield* Effect.flip(registry.register("else", { address: "a:1" }, ttl))
    assert.equal(denied.code, "permission_denied")
    const unseen = yield* Effect.flip(Stream.runDrain(registry.resolve("else")))
    assert.equal(unseen.code, "permission_denied")
  }))

test("a wrong password is refused, and told to nobody", () =>
  withLog((log) =>
    Effect.gen(function* () {
      const member = yield* etcdServer()
      yield* closeFor(member)
      const registry = yield* etcd(withUser(member, "ada", "swordfish"))
      const error = yield* Effect.flip(registry.register("pi", { address: "a:1" }, ttl))
      assert.equal(error.code, "unauthenticated")
      assert.match(error.message, /^etcd refuses the user "ada": .*invalid user ID or password/)
      yield* Effect.logError("it failed", error, registry)
      assert.doesNotMatch([...log, JSON.stringify(error), String(error)].join(), /swordfish/)
      const nobody = yield* etcd(member.url)
      const refused = yield* Effect.flip(nobody.register("pi", { address: "a:1" }, ttl))
      assert.match(refused.message, /user name is empty/)
    }),
  ))

test("a token that etcd doesn't know any more is followed by another", () =>
  Effect.gen(function* () {
    const member = yield* etcdServer()
    yield* closeFor(member)
    const registry = yield* etcd(withUser(member, "ada", password))
    const { renew } = yield* registry.register("pi", { address: "a:1" }, ttl)
    // Both forget all tokens.
    yield* etcdctl(member, "--user", "root:root", "auth", "disable")
    yield* etcdctl(member, "auth", "enable")
    yield* registry.register("pi", { address: "b:1" }, ttl)
    yield* renew
    const { until } = yield* watching(registry, "pi")
    yield* until("a:1", "b:1")
  }))

test("a token that has expired is followed by another", () =>
  Effect.gen(function* () {
    const member = yield* etcdServer({ flags: ["--auth-token-ttl", "1"] })
    yield* closeFor(member)
    const registry = yield* etcd(withUser(member, "ada", password))
    const { until } = yield* watching(registry, "pi")
    // What runs for longer than a token: a lease that ends.
    yield* registry.register("pi", { address: "a:1" }, Duration.seconds(3))
    yield* until("a:1")
    yield* until()
    yield* registry.register("pi", { address: "b:1" }, ttl)
    yield* until("b:1")
  }))

test("a user is let in where etcd asks for none, and goes on when it begins to", () =>
  Effect.gen(function* () {
    const member = yield* etcdServer()
    const registry = yield* etcd(withUser(member, "ada", password))
    const { renew } = yield* registry.register("pi", { address: "a:1" }, ttl)
    yield* closeFor(member)
    yield* renew
    yield* registry.register("pi", { address: "b:1" }, ttl)
    const { until } = yield* watching(registry, "pi")
    yield* until("a:1", "b:1")
  }))

const file = (name: string): string => readFileSync(join(certificates, name), "utf8")

test("etcds: speaks TLS, with certificates of both sides", () =>
  Effect.gen(function* () {
    const flags = ["--client-cert-auth", "--trusted-ca-file", `${certificates}/ca.pem`]
    const member = yield* etcdServer({ secure: true, flags })
    const ca = file("ca.pem")
    const tls = { ca, cert: file("client.pem"), key: file("client.key") }
    const registry = yield* etcd(member.url, { tls })
    yield* registry.register("pi", { address: "a:1" }, ttl)
    const { until } = yield* watching(registry, "pi")
    yield* until("a:1")
    const withoutCertificate = yield* etcd(member.url, { tls: { ca } })
    assert.equal((yield* Effect.flip(withoutCertificate.register("pi", { address: "a:1" }, ttl))).code, "unavailable")
    const untrusting = yield* etcd(member.url)
    const error = yield* Effect.flip(untrusting.register("pi", { address: "a:1" }, ttl))
    assert.equal(error.code, "unavailable")
    assert.match(error.message, /certificate|issuer|CA/i)
  }))
