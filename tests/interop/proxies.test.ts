/**
 * A rolling restart behind the proxies of others: two of our servers are ended and started anew, one after the other, while
 * calls go through the proxy. None may be lost, as docs/deploy.md says of each.
 */
import assert from "node:assert/strict"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Exit, Fiber, Schedule, Scope } from "effect"
import { connect } from "../../src/transport/channel.ts"
import * as Client from "../../src/transport/client.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { type Command, started } from "./processes.ts"
import { served } from "./programs.ts"
import { test } from "./support.ts"
import { envoy } from "./tools.ts"

const freePort = Effect.callback<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "basel-proxy-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true })),
)

interface Ports {
  readonly proxy: number
  readonly servers: readonly [number, number]
}

interface Proxy {
  readonly name: string
  /** What our servers are told, so that it loses nothing. */
  readonly flags: ReadonlyArray<string>
  /** Writes what it needs into a folder, and says how it is started. */
  readonly command: (path: string, ports: Ports) => Command
}

const written = (path: string, name: string, text: string): string => {
  const file = join(path, name)
  writeFileSync(file, text)
  return file
}

const nginx: Proxy = {
  name: "nginx that leaves no server out for one refused connection",
  flags: [],
  command: (path, { proxy, servers }) => ({
    command: "nginx",
    args: [
      "-e",
      join(path, "error.log"),
      "-p",
      path,
      "-c",
      written(
        path,
        "nginx.conf",
        `daemon off; master_process off; pid ${path}/nginx.pid; error_log ${path}/error.log; events {}
http {
  access_log off;
  client_body_temp_path ${path}/body; proxy_temp_path ${path}/proxy; fastcgi_temp_path ${path}/fastcgi;
  uwsgi_temp_path ${path}/uwsgi; scgi_temp_path ${path}/scgi;
  upstream pi { ${servers.map((port) => `server 127.0.0.1:${port} max_fails=0;`).join(" ")} keepalive 16; }
  server {
    listen 127.0.0.1:${proxy} http2;
    location / { grpc_pass grpc://pi; grpc_next_upstream error timeout http_502; }
  }
}`,
      ),
    ],
  }),
}

const type = (name: string) => `"@type": type.googleapis.com/envoy.extensions.${name}`
const endpoint = (port: number) =>
  `{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: ${port} } } } }`

const envoyProxy: Proxy = {
  name: "Envoy that asks for the servers' health",
  flags: ["--drain-delay", "1s"],
  command: (path, { proxy, servers }) => ({
    command: envoy,
    args: [
      "--log-level",
      "error",
      "--concurrency",
      "1",
      "--disable-hot-restart",
      "-c",
      written(
        path,
        "envoy.yaml",
        `static_resources:
  listeners:
  - address: { socket_address: { address: 127.0.0.1, port_value: ${proxy} } }
    filter_chains:
    - filters:
      - name: http
        typed_config:
          ${type("filters.network.http_connection_manager.v3.HttpConnectionManager")}
          stat_prefix: pi
          route_config:
            virtual_hosts: [{ name: pi, domains: ["*"], routes: [{ match: { prefix: / }, route: { cluster: pi } }] }]
          http_filters: [{ name: router, typed_config: { ${type("filters.http.router.v3.Router")} } }]
  clusters:
  - name: pi
    connect_timeout: 1s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        ${type("upstreams.http.v3.HttpProtocolOptions")}
        explicit_http_config: { http2_protocol_options: {} }
    health_checks:
    - timeout: 1s
      interval: 0.2s
      no_traffic_interval: 0.2s
      unhealthy_threshold: 1
      healthy_threshold: 1
      grpc_health_check: {}
    load_assignment: { cluster_name: pi, endpoints: [{ lb_endpoints: [${servers.map(endpoint).join(", ")}] }] }
`,
      ),
    ],
  }),
}

/** A server that can be started anew on its port. */
const restartable = Effect.fnUntraced(function* (port: number, flags: ReadonlyArray<string>) {
  const begin = Effect.gen(function* () {
    const scope = yield* Scope.make()
    yield* Scope.provide(served(["--port", `${port}`, ...flags]), scope)
    return scope
  })
  let running = yield* begin
  yield* Effect.addFinalizer(() => Scope.close(running, Exit.void))
  return {
    restart: Effect.gen(function* () {
      yield* Scope.close(running, Exit.void)
      running = yield* begin
    }),
  }
})

for (const { name, flags, command } of [nginx, envoyProxy]) {
  test(`a rolling restart behind ${name} loses no call`, () =>
    Effect.gen(function* () {
      const path = yield* folder
      const servers = [yield* freePort, yield* freePort] as const
      const ports = { proxy: yield* freePort, servers }
      const [one, other] = [yield* restartable(servers[0], flags), yield* restartable(servers[1], flags)]
      yield* started(command(path, ports))
      const channel = yield* connect(`http://127.0.0.1:${ports.proxy}`)
      const { calc } = Client.make(PiCalculator, channel)
      // Until it listens and knows that both are well.
      yield* Effect.retry(calc({ n: 999 }), { times: 100, schedule: Schedule.spaced("50 millis") })
      yield* Effect.sleep("1 second")
      let answered = 0
      const failures: Array<string> = []
      const caller = Effect.forever(
        Effect.andThen(
          Effect.match(calc({ n: 999 }), {
            onSuccess: () => void answered++,
            onFailure: ({ message }) => void failures.push(message),
          }),
          Effect.sleep("5 millis"),
        ),
      )
      const callers = yield* Effect.forkChild(
        Effect.all(
          Array.from({ length: 8 }, () => caller),
          { concurrency: 8 },
        ),
      )
      for (const server of [one, other]) {
        yield* Effect.sleep("500 millis")
        yield* server.restart
        // Until the proxy has seen that it is back.
        yield* Effect.sleep("1 second")
      }
      yield* Fiber.interrupt(callers)
      assert.deepEqual(failures, [])
      assert.ok(answered > 100, `${answered} calls`)
    }))
}
