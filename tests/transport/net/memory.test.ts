import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { processMemory, ServerMemory } from "../../../src/transport/net/memory.ts"

describe("the memory of a server", () => {
  test("is one budget of 512 MiB for all servers that ask for no other, and 64 MiB of it for a connection", () => {
    const [one, other] = [new ServerMemory(), new ServerMemory()]
    const connection = one.open("::1")
    assert.equal(connection.take(1000), undefined)
    assert.deepEqual([one.used, other.used, one.limit], [1000, 1000, 512 * 1024 * 1024])
    assert.equal(connection.take(64 * 1024 * 1024), connection)
    assert.deepEqual([one.refused, other.refused], [1, 0])
    connection.end()
    assert.equal(processMemory.used, 0)
  })

  test("is a budget of its own where it is given, and one peer has a quarter of it", () => {
    const memory = new ServerMemory({ process: 400, connection: 80 })
    const [first, second] = [memory.open("10.0.0.1"), memory.open("10.0.0.1")]
    assert.equal(first.take(80), undefined)
    assert.equal(second.take(21)?.name, "peer")
    assert.equal(second.take(20), undefined)
    const others = ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"].map((address) => memory.open(address))
    const [last, ...before] = others.reverse()
    for (const connection of before) assert.equal(connection.take(80), undefined)
    assert.equal(last?.take(61)?.name, "process")
    assert.equal(last?.take(60), undefined)
    assert.deepEqual([memory.used, memory.limit, memory.refused], [400, 400, 2])
    assert.equal(processMemory.used, 0)
  })

  test("gives all of it to one peer behind a proxy", () => {
    const memory = new ServerMemory({ process: 100, peerShare: 1 })
    assert.equal(memory.open("10.0.0.1").take(100), undefined)
  })

  test("comes back with the end of a connection, and forgets a peer with its last one", () => {
    const memory = new ServerMemory({ process: 400 })
    const [first, second] = [memory.open("10.0.0.1"), memory.open("10.0.0.1")]
    first.take(50)
    second.take(40)
    first.end()
    assert.deepEqual([memory.used, memory.openPeers], [40, 1])
    second.end()
    assert.deepEqual([memory.used, memory.openPeers], [0, 0])
  })
})
