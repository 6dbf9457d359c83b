/**
 * Standard output and error as outputs of a `Sink`: writes that don't block, whatever stands behind the descriptor. That a
 * runtime's own `console.log` and `process.stdout` wait for a full pipe, or end the process with its reader, is what this is for.
 */
import * as fs from "node:fs"
import * as net from "node:net"
import type { Writable } from "node:stream"
import * as tty from "node:tty"
import type { Fault, Output } from "./sink.ts"

/** What to do about a write that failed. Only a reader that is gone never comes back. */
const faultOf = (error: NodeJS.ErrnoException, taken: number): Fault => {
  switch (error.code) {
    case "EPIPE":
    case "ECONNRESET":
    case "EBADF":
    case "ERR_STREAM_DESTROYED":
    case "ERR_STREAM_WRITE_AFTER_END":
      return { taken, retryMillis: undefined }
    case "EAGAIN":
      return { taken, retryMillis: 20 }
    default:
      // A full disk has room again some time.
      return { taken, retryMillis: 1000 }
  }
}

const ofStream = (open: () => Writable): Output => {
  let stream: Writable | undefined
  return (bytes, done) => {
    if (stream === undefined) {
      stream = open()
      // The callback of each write has it, too; without a listener it would end the process.
      stream.on("error", () => {})
    }
    stream.write(bytes, (error) => done(error ? faultOf(error, 0) : undefined))
  }
}

const ofFile =
  (descriptor: number): Output =>
  (bytes, done) => {
    const rest = (from: number): void =>
      fs.write(descriptor, bytes, from, bytes.length - from, null, (error, written) => {
        if (error !== null) return done(faultOf(error, from))
        if (from + written < bytes.length) return rest(from + written)
        done()
      })
    rest(0)
  }

/**
 * A terminal waits while somebody has stopped it by Ctrl-S. Opened anew it can be told not to, without telling so the shell
 * that has it, too. Not on Deno, where that takes permissions that a server doesn't need.
 */
const ofTerminal = (descriptor: number): Output => {
  try {
    return ofFile(fs.openSync(`/proc/self/fd/${descriptor}`, fs.constants.O_WRONLY | fs.constants.O_NONBLOCK))
  } catch {
    return ofFile(descriptor)
  }
}

const isPipe = (descriptor: number): boolean => {
  try {
    const behind = fs.fstatSync(descriptor)
    return behind.isFIFO() || behind.isSocket()
  } catch {
    // It is closed: each write will say so.
    return false
  }
}

const onDeno = "Deno" in globalThis

/** Standard output (1) or standard error (2). */
export const standardOutput = (descriptor: 1 | 2): Output => {
  if (tty.isatty(descriptor)) return onDeno ? ofFile(descriptor) : ofTerminal(descriptor)
  if (!isPipe(descriptor)) return ofFile(descriptor)
  // Deno's own streams of a pipe block, and a socket of the others would be a second one on the same descriptor.
  if (onDeno) return ofStream(() => new net.Socket({ fd: descriptor, readable: false, writable: true }))
  return ofStream(() => (descriptor === 1 ? process.stdout : process.stderr))
}
