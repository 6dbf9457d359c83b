/**
 * Files that flags name.
 */
import { Effect, FileSystem } from "effect"
import { type Flag, Param, Primitive } from "effect/cli"
import { UsageError } from "./failure.ts"

// Effect's own primitive for a path asks whether there is such a file, which takes a permission on Deno, and says so in words
// of its own. Only what shells are told to complete is of interest here.
const path: Primitive.Primitive<string> = Object.assign(Object.create(Object.getPrototypeOf(Primitive.String)), {
  ...Primitive.String,
  _tag: "Path",
  pathType: "file",
})

/** A flag whose value is the path of a file; shells complete it. */
export const fileFlag = (name: string): Flag.Flag<string> =>
  Param.makeSingle({ kind: Param.flagKind, name, primitiveType: path, typeName: "file" })

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
