import assert from "node:assert/strict"
import { test } from "node:test"
import { networkOf } from "../../../src/core/rpc/network.ts"

const networks: ReadonlyArray<readonly [address: string, network: string]> = [
  ["192.0.2.7", "192.0.2.7"],
  ["::ffff:192.0.2.7", "192.0.2.7"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
  ["2001:db8::7", "2001:db8:0:0"],
  ["2001:db8:1:2::", "2001:db8:1:2"],
  ["::1", "0:0:0:0"],
  ["fe80::1%eth0", "fe80:0:0:0"],
  ["", ""],
]

for (const [address, network] of networks) {
  test(`the address ${JSON.stringify(address)} shares with ${JSON.stringify(network)}`, () =>
    assert.equal(networkOf(address), network))
}
