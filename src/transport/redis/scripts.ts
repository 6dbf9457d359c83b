/**
 * What Redis has no command for, in its Lua. A script runs as one: nothing comes between its commands.
 */
import { createHash } from "node:crypto"
import { headerBytes } from "./entry.ts"

export interface Script {
  readonly source: string
  /** What the server knows it by, once it has seen it. */
  readonly digest: string
}

const script = (source: string): Script => ({ source, digest: createHash("sha1").update(source).digest("hex") })

/**
 * Sets KEYS[1] to ARGV[2] if what is there begins with the header ARGV[1]; for ARGV[3] milliseconds, or without an end for
 * an empty text. Gives 1 if it did.
 */
export const compareAndSet = script(`
if redis.call('GETRANGE', KEYS[1], 0, ${headerBytes - 1}) ~= ARGV[1] then return 0 end
if ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1
`)

/**
 * Adds ARGV[2] to the number in KEYS[1] and puts it there behind the header ARGV[1]; one that is new is kept for ARGV[3]
 * milliseconds, or without an end for an empty text. Gives the sum as digits, or 0 where there is no number of ours, or 1
 * where the sum has more than 64 bits. Lua's numbers have 53 bits, so it is INCRBY that adds.
 */
export const increment = script(`
local old = redis.call('GET', KEYS[1])
local digits = '0'
if old then
  digits = string.sub(old, ${headerBytes + 1})
  if string.sub(old, 1, 2) ~= string.sub(ARGV[1], 1, 2) or not string.match(digits, '^-?%d+$') then return 0 end
end
redis.call('SET', KEYS[1], digits, 'KEEPTTL')
local sum = redis.pcall('INCRBY', KEYS[1], ARGV[2])
if type(sum) == 'table' and sum.err then
  if old then redis.call('SET', KEYS[1], old, 'KEEPTTL') else redis.call('DEL', KEYS[1]) end
  return string.find(sum.err, 'overflow') and 1 or 0
end
local now = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1] .. now, 'KEEPTTL')
if not old and ARGV[3] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return now
`)
