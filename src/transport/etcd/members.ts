/**
 * Members: the processes of one etcd, of which each answers for all.
 */
import { Array as Arr, Effect, Stream } from "effect"
import { type Channel, type Connector, fromConnector } from "../../core/rpc/channel.ts"
import type { RpcError } from "../../core/rpc/error.ts"

/**
 * A channel whose calls go to one member, until one of them finds that it can't be reached, has no leader, or doesn't
 * answer in time: the calls after it go to the next. The call that finds it fails: `retry` in front sends it on.
 */
export const members = (channels: Arr.NonEmptyReadonlyArray<Channel>): Channel => {
  let at = 0
  const asked = (): Connector => (channels[at] ?? Arr.headNonEmpty(channels)).connector
  const leaving =
    (left: number) =>
    ({ code }: RpcError) =>
      Effect.sync(() => {
        const gone = code === "unavailable" || code === "deadline_exceeded"
        if (gone && at === left) at = (at + 1) % channels.length
      })
  return fromConnector({
    unary: (call, request, options) =>
      Effect.suspend(() => Effect.tapError(asked().unary(call, request, options), leaving(at))),
    stream: (call, requests, options) =>
      Stream.suspend(() => Stream.tapError(asked().stream(call, requests, options), leaving(at))),
    // Of the member that is asked now.
    connectivity: {
      state: Effect.suspend(() => asked().connectivity.state),
      changes: Stream.suspend(() => asked().connectivity.changes),
      connect: Effect.suspend(() => asked().connectivity.connect),
    },
  })
}
