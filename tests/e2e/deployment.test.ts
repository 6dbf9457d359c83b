/**
 * What deployers are given: that its parts agree with each other and with the command. It is read and not run, for that takes
 * an engine.
 */
import assert from "node:assert/strict"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Duration, Effect, Option } from "effect"
import { parseDuration } from "../../src/cli/duration.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { test } from "../effect.ts"
import { basel, root, served, start } from "./command.ts"

// Bun reads YAML, on whatever runtime the tests run. What is in it is taken on trust: the assertions fail where it isn't so.
const yaml = Effect.fnUntraced(function* <A>(path: string) {
  const script = "console.log(JSON.stringify(Bun.YAML.parse(await Bun.stdin.text())))"
  const { stdout } = yield* Effect.promise(
    () => start(`bun -e '${script}'`, readFileSync(join(root, path), "utf8")).finished,
  )
  const document: A = JSON.parse(stdout)
  return document
})

interface Probe {
  readonly grpc: { readonly port: number; readonly service?: string }
}

type Labels = Readonly<Record<string, string>>

interface Deployment {
  readonly spec: {
    readonly selector: { readonly matchLabels: Labels }
    readonly strategy: { readonly rollingUpdate: { readonly maxUnavailable: number } }
    readonly template: {
      readonly metadata: { readonly labels: Labels }
      readonly spec: {
        readonly terminationGracePeriodSeconds: number
        readonly securityContext: { readonly runAsUser: number }
        readonly containers: ReadonlyArray<{
          readonly args: ReadonlyArray<string>
          readonly ports: ReadonlyArray<{ readonly name: string; readonly containerPort: number }>
          readonly readinessProbe: Probe
          readonly livenessProbe: Probe
          readonly lifecycle: { readonly preStop: { readonly sleep: { readonly seconds: number } } }
          readonly resources: { readonly requests: { readonly cpu: string } }
        }>
      }
    }
  }
}

interface Compose {
  readonly services: Readonly<
    Record<
      string,
      {
        readonly command: ReadonlyArray<string>
        readonly depends_on?: Readonly<Record<string, unknown>>
        readonly stop_grace_period?: string
        readonly ports?: ReadonlyArray<string>
      }
    >
  >
}

const deployment = Effect.gen(function* () {
  const { spec } = yield* yaml<Deployment>("deploy/kubernetes/deployment.yaml")
  const [container] = spec.template.spec.containers
  assert.ok(container)
  return { spec, pod: spec.template.spec, container }
})

const compose = Effect.gen(function* () {
  const { services } = yield* yaml<Compose>("compose.yaml")
  return Object.entries(services)
    .filter(([name]) => name.startsWith("pi-"))
    .map(([name, service]) => ({ name, ...service }))
})

const dockerfile = readFileSync(join(root, "Dockerfile"), "utf8")

/** The list that an instruction of the Dockerfile has. */
const list = (instruction: string): ReadonlyArray<string> => {
  const [, found = ""] = new RegExp(`^${instruction} (\\[.*\\])$`, "m").exec(dockerfile) ?? []
  return JSON.parse(found)
}

/** What a flag is given, as the next word or behind `=`. */
const flag = (args: ReadonlyArray<string>, name: string): string => {
  const [, value] = new RegExp(`(?:^| )--${name}[= ](\\S+)`).exec(args.join(" ")) ?? []
  assert.ok(value, `${args} has no --${name}`)
  return value
}

const seconds = (text: string): number => Duration.toSeconds(Option.getOrThrow(parseDuration(text)))

const takes = Effect.fnUntraced(function* (commands: ReadonlyArray<ReadonlyArray<string>>) {
  const help = (yield* basel(["serve", "--help"])).stdout
  for (const [first, ...args] of commands) {
    assert.equal(first, "serve")
    for (const word of args.filter((one) => one.startsWith("--"))) {
      const [name = ""] = word.split("=")
      assert.match(help, new RegExp(`^\\s+${name} `, "m"), `${name} is no flag of serve`)
    }
    assert.equal(flag(args, "host"), "0.0.0.0", "who listens on the loopback is alone in its container")
  }
})

test("the commands of the image and of Kubernetes are ones that serve takes", () =>
  Effect.gen(function* () {
    const { container } = yield* deployment
    yield* takes([list("CMD"), container.args])
    assert.deepEqual(list("ENTRYPOINT"), ["bun", "run", "src/main.ts"])
  }))

test("the commands of compose are ones that serve takes", () =>
  Effect.gen(function* () {
    yield* takes((yield* compose).map(({ command }) => command))
  }))

test("the image has Bun as the project pins it, and copies what is there", () =>
  Effect.sync(() => {
    const { devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
    const images = Array.from(dockerfile.matchAll(/^FROM oven\/bun:(\S+?)-slim/gm), ([, version]) => version)
    assert.deepEqual(images, [devDependencies.bun, devDependencies.bun])
    const ignored = readFileSync(join(root, ".dockerignore"), "utf8")
    for (const [, words = ""] of dockerfile.matchAll(/^COPY (?!--)(.*)$/gm)) {
      for (const path of words.split(" ").slice(0, -1)) {
        assert.ok(existsSync(join(root, path)), path)
        assert.match(ignored, new RegExp(`^!${path}$`, "m"), `${path} is ignored`)
      }
    }
  }))

test("its health check passes while it serves, and fails when it doesn't", () =>
  Effect.gen(function* () {
    const [, check = ""] = /^HEALTHCHECK .*CMD (\[.*\])$/m.exec(dockerfile) ?? []
    const [command, eval_, script = ""]: ReadonlyArray<string> = JSON.parse(check)
    assert.deepEqual([command, eval_], ["bun", "-e"])
    const { url } = yield* served()
    const at = (address: string) =>
      Effect.promise(() => start("bun -", script.replace("http://127.0.0.1:8080", address)).finished)
    assert.equal((yield* at(url)).code, 0)
    assert.notEqual((yield* at("http://127.0.0.1:1")).code, 0)
    assert.ok(script.includes(`:${flag(list("CMD"), "port")}/`))
  }))

test("in Kubernetes one port is meant everywhere, and probes ask for what is served", () =>
  Effect.gen(function* () {
    const { container } = yield* deployment
    const { spec } = yield* yaml<{
      readonly spec: {
        readonly clusterIP: string
        readonly ports: ReadonlyArray<{ readonly port: number; readonly targetPort: string }>
      }
    }>("deploy/kubernetes/service.yaml")
    const port = Number(flag(container.args, "port"))
    assert.deepEqual(container.ports, [{ name: "grpc", containerPort: port }])
    assert.deepEqual(
      spec.ports.map((one) => [one.port, one.targetPort]),
      [[port, "grpc"]],
    )
    assert.equal(spec.clusterIP, "None", "headless: clients see the pods")
    assert.deepEqual(container.readinessProbe.grpc, { port, service: PiCalculator.typeName })
    assert.deepEqual(container.livenessProbe.grpc, { port })
  }))

test("in Kubernetes calls have their grace, and a rollout takes no pod away before another is there", () =>
  Effect.gen(function* () {
    const { spec, pod, container } = yield* deployment
    const needed = container.lifecycle.preStop.sleep.seconds + seconds(flag(container.args, "grace"))
    // What a worker may take to end after its grace.
    assert.ok(needed + 5 < pod.terminationGracePeriodSeconds, `${needed} s, and some more`)
    assert.equal(spec.strategy.rollingUpdate.maxUnavailable, 0)
    assert.equal(flag(container.args, "workers"), container.resources.requests.cpu, "a core for each")
    assert.match(dockerfile, new RegExp(`^USER ${pod.securityContext.runAsUser}:`, "m"))
  }))

test("in Kubernetes all mean the same pods", () =>
  Effect.gen(function* () {
    const { spec } = yield* deployment
    const service = yield* yaml<{ readonly spec: { readonly selector: Labels } }>("deploy/kubernetes/service.yaml")
    const budget = yield* yaml<{ readonly spec: { readonly selector: { readonly matchLabels: Labels } } }>(
      "deploy/kubernetes/podDisruptionBudget.yaml",
    )
    for (const labels of [spec.selector.matchLabels, service.spec.selector, budget.spec.selector.matchLabels]) {
      assert.deepEqual(labels, spec.template.metadata.labels)
    }
  }))

test("in compose each server is told where it is found, and has its grace", () =>
  Effect.gen(function* () {
    const servers = yield* compose
    assert.equal(servers.length, 3)
    for (const { name, command, depends_on, stop_grace_period, ports } of servers) {
      const port = flag(command, "port")
      assert.equal(flag(command, "advertise"), `${name}:${port}`)
      assert.equal(new URL(flag(command, "cache")).hostname, "redis")
      assert.equal(new URL(flag(command, "etcd")).hostname, "etcd")
      assert.deepEqual(Object.keys(depends_on ?? {}).toSorted(), ["etcd", "redis"])
      assert.ok(seconds(flag(command, "grace")) + 5 < seconds(stop_grace_period ?? ""))
      assert.ok(ports?.every((one) => one.endsWith(`:${port}`)))
    }
  }))
