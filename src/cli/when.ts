/**
 * `when`: a layer that a flag turns on.
 */
import { identity, Option } from "effect"
import type { CallLayer } from "../core/layers/intercept.ts"

/** The layer for a flag's value; none at all without the flag. */
export const when = <A>(flag: Option.Option<A>, layer: (value: A) => CallLayer): CallLayer =>
  Option.match(flag, { onNone: () => identity, onSome: layer })
