/**
 * Files that flags name.
 */
import { Effect, FileSystem } from "effect"
import { UsageError } from "./failure.ts"

/** The text of a file, which a flag has named. */
export const readFile = (flag: string, path: string): Effect.Effect<string, UsageError, FileSystem.FileSystem> =>
  Effect.flatMap(FileSystem.FileSystem, (files) => files.readFileString(path)).pipe(
    Effect.mapError(({ reason }) => {
      const why =
        reason._tag === "NotFound"
          ? "there is no such file: check the path"
          : "it can't be read: check that this user may (under Deno with --allow-read)"
      return new UsageError({ message: `${flag} ${path}: ${why}` })
    }),
  )
