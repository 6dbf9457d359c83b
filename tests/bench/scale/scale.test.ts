import assert from "node:assert/strict"
import { test } from "node:test"
import { Effect, Random } from "effect"
import { EventQueue } from "./queue.ts"
import { registryLoad } from "./registryLoad.ts"
import { type Clients, type Course, type Second, type Storm, storm } from "./storm.ts"
import { chosen, churn, dealt, drawn, service } from "./subsets.ts"

const sum = (course: Course, what: keyof Second, from = 0, to = course.seconds.length): number =>
  course.seconds.slice(from, to).reduce((total, counts) => total + counts[what], 0)

test("events come in the order of time, and those of one time in the order in which they were put in", () => {
  const random = Effect.runSync(Random.withSeed(Effect.service(Random.Random), "queue"))
  const queue = new EventQueue()
  const waiting: Array<readonly [time: number, event: number]> = []
  let event = 0
  const take = () => {
    waiting.sort(([t1, e1], [t2, e2]) => t1 - t2 || e1 - e2)
    const [next] = waiting.splice(0, 1)
    assert.equal(queue.next, next?.[0])
    assert.equal(queue.take(), next?.[1])
  }
  for (let i = 0; i < 5000; i++) {
    const time = Math.floor(random.nextDoubleUnsafe() * 50)
    queue.add(time, event)
    waiting.push([time, event++])
    if (random.nextDoubleUnsafe() < 0.4) take()
  }
  while (queue.size > 0) take()
  assert.equal(waiting.length, 0)
  assert.equal(queue.next, Number.POSITIVE_INFINITY)
  assert.throws(() => queue.take(), /no event is due/)
})

const small: Storm = {
  clients: 10_000,
  rate: 0.1,
  servers: 100,
  work: 0.08,
  deadline: 1,
  refusal: 0.001,
  roundTrip: 0.001,
  outage: { from: 5, to: 20, lost: 50 },
  seconds: 40,
  seed: "storm",
}
const backoff = { initial: "100 millis", multiplier: 2, max: "5 seconds", jitter: 0.2 } as const
const bucket = { maxTokens: 10, tokenRatio: 0.1 }
const policies: ReadonlyArray<readonly [name: string, clients: Clients, limit?: number]> = [
  ["no retries", { maxAttempts: 1 }],
  ["retries at once", { maxAttempts: 5 }],
  ["backoff", { maxAttempts: 5, backoff }],
  ["a bucket", { maxAttempts: 5, backoff, throttle: bucket }],
  ["a limit", { maxAttempts: 5 }, 8],
]

for (const [name, clients, limit] of policies) {
  test(`every call of a storm ends once: ${name}`, () => {
    const course = storm(limit === undefined ? small : { ...small, limit }, clients)
    const calls = sum(course, "calls")
    assert.ok(calls > 30_000)
    assert.equal(sum(course, "succeeded") + sum(course, "failed"), calls)
    const attempts = sum(course, "attempts")
    assert.ok(attempts >= calls && attempts <= calls * clients.maxAttempts)
    // Each attempt begins and ends.
    assert.equal(course.events, 2 * attempts)
  })
}

test("a storm is the same for the same seed, and another one for another", () => {
  const clients = { maxAttempts: 5, backoff, throttle: bucket }
  assert.deepEqual(storm(small, clients), storm(small, clients))
  assert.notDeepEqual(storm(small, clients), storm({ ...small, seed: "another" }, clients))
})

test("retries keep a service down when its servers are back, and a bucket lets it come back", () => {
  const answered = (clients: Clients) => {
    const course = storm({ ...small, clients: 1000, rate: 1 }, clients)
    return sum(course, "succeeded", 30, 40) / sum(course, "calls", 30, 40)
  }
  assert.ok(answered({ maxAttempts: 1 }) > 0.99)
  assert.ok(answered({ maxAttempts: 5, backoff }) < 0.01)
  assert.ok(answered({ maxAttempts: 5, backoff, throttle: bucket }) > 0.99)
})

test("a service that isn't full answers all calls at the first attempt", () => {
  const course = storm({ ...small, outage: { from: 5, to: 20, lost: 0 } }, { maxAttempts: 5 })
  assert.equal(sum(course, "succeeded"), sum(course, "calls"))
  assert.equal(sum(course, "attempts"), sum(course, "calls"))
})

test("endpoints renew three times a lease, leave when they stop, and are all in again after an outage", () => {
  const tenths = registryLoad(
    {
      endpoints: 100,
      ttl: 3,
      arrival: 1,
      restarts: { from: 5, to: 10, perSecond: 2, away: 1 },
      outage: { from: 20, to: 25 },
      seconds: 40,
    },
    "registry",
  )
  const during = (what: keyof (typeof tenths)[number], from: number, to: number) =>
    tenths.slice(from * 10, to * 10).reduce((total, counts) => total + counts[what], 0)
  assert.equal(during("registrations", 0, 2), 100)
  assert.equal(during("renewals", 2, 4), 200)
  assert.equal(during("deregistrations", 0, 20), 10)
  assert.equal(during("registrations", 2, 20), 10)
  assert.equal(during("renewals", 20, 25), 0)
  assert.equal(during("registrations", 25, 40), 100)
  assert.equal(during("renewals", 30, 39), 900)
})

test("a subset that is dealt has each endpoint once, and a round gives each to one client", () => {
  const endpoints = service(100)
  const round = Array.from({ length: 5 }, (_, client) => Effect.runSync(dealt(endpoints, client, 20))).flat()
  assert.equal(new Set(round).size, 100)
})

test("subsets that are chosen are as even as those drawn at random, and those who stay keep theirs", () => {
  const ours = chosen(service(100), 5000, 20)
  const random = drawn(100, 5000, 20, "drawn")
  assert.ok(ours.most < 1.15 && ours.least > 0.85, JSON.stringify(ours))
  assert.ok(random.most < 1.15 && random.least > 0.85, JSON.stringify(random))
  for (const { scheme, moved } of churn(service(2000), 20, 20)) {
    if (scheme.startsWith("rendezvous")) assert.equal(moved, 0)
    else assert.ok(moved > 0.5)
  }
})
