/**
 * Deno's own, for the few things in which it differs: its types aren't those that we compile with.
 */
export interface DenoPermissions {
  readonly permissions: {
    readonly querySync: (of: {
      readonly name: "read" | "net" | "env"
      readonly host?: string
      readonly variable?: string
    }) => { readonly state: string }
  }
}

/** What Deno has; `undefined` on other runtimes. */
export const runtimeDeno = (): DenoPermissions | undefined =>
  // It is there under Deno alone, and has had these since its first version.
  (globalThis as { readonly Deno?: DenoPermissions }).Deno
