/**
 * The token that etcd gives to who has said a password, and wants with each call.
 *
 * Source: etcd's documentation, "Role-based access control" and "Authentication" of its learning chapter.
 */
import { Effect, Redacted, Semaphore } from "effect"
import { type CallLayer, intercept } from "../../core/layers/intercept.ts"
import type { Channel } from "../../core/rpc/channel.ts"
import { RpcError } from "../../core/rpc/error.ts"
import * as Metadata from "../../core/rpc/metadata.ts"
import * as Client from "../client.ts"
import { Auth } from "../gen/etcd/rpc_pb.ts"
import type { User } from "./url.ts"

// etcd's texts are all that tells them from other errors: the token is too old, users have changed since, or there is none.
const stale = ["invalid auth token", "revision of auth store is old", "user name is empty"]

const isStale = ({ message }: RpcError): boolean => stale.some((text) => message.includes(text))

/**
 * A layer that gives calls the token of a user, which it gets over a channel that has none. A call that etcd refuses for
 * its token is sent once more with a new one.
 */
export const authenticated = Effect.fnUntraced(function* (user: User, channel: Channel): Effect.fn.Return<CallLayer> {
  const auth = Client.make(Auth, channel)
  const lock = yield* Semaphore.make(1)
  const authenticate = Effect.suspend(() =>
    auth.authenticate({ name: user.name, password: Redacted.value(user.password) }),
  ).pipe(
    Effect.map(({ token }) => token),
    Effect.catchIf(
      // Without users etcd lets everybody in.
      ({ message }) => message.includes("authentication is not enabled"),
      () => Effect.succeed(""),
    ),
    Effect.mapError((error) => (error.code === "invalid_argument" ? refused(user, error) : error)),
    Effect.flatMap(asMetadata),
  )
  let known: Metadata.Metadata | undefined
  /** The token, another one than etcd has refused. */
  const token = (old?: Metadata.Metadata) =>
    Semaphore.withPermit(
      lock,
      Effect.suspend(() =>
        known === undefined || known === old
          ? Effect.tap(authenticate, (fresh) =>
              Effect.sync(() => {
                known = fresh
              }),
            )
          : Effect.succeed(known),
      ),
    )
  return intercept((call, next) => {
    const attempt = (with_: Metadata.Metadata) => next({ ...call, metadata: Metadata.concat(call.metadata, with_) })
    return Effect.flatMap(token(), (first) =>
      Effect.catchIf(attempt(first), isStale, () => Effect.flatMap(token(first), attempt)),
    )
  })
})

const refused = (user: User, { message, cause }: RpcError): RpcError =>
  new RpcError({
    code: "unauthenticated",
    message: `etcd refuses the user ${JSON.stringify(user.name)}: ${message}`,
    cause,
  })

const asMetadata = (token: string): Effect.Effect<Metadata.Metadata, RpcError> =>
  Effect.try({
    // A list of its own each time: it tells one token from the next.
    try: () => (token === "" ? [] : Metadata.of({ token })),
    catch: () => new RpcError({ code: "internal", message: "etcd's token can't be sent as metadata" }),
  })
