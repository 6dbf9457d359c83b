# The server, on Bun: docker build -t basel . && docker run --rm -p 8080:8080 basel
FROM oven/bun:1.4.5-slim AS dependencies
WORKDIR /basel
COPY package.json package-lock.json .npmrc ./
# What the lockfile says, and none of the development tools; nothing of it needs to run to be installed.
RUN bun install --production --frozen-lockfile --ignore-scripts

FROM oven/bun:1.4.5-slim
WORKDIR /basel
COPY --from=dependencies /basel/node_modules node_modules
COPY package.json LICENSE ./
COPY proto proto
COPY src src
# The image's own user, by its number: Kubernetes can't see of a name that it isn't root.
USER 1000:1000
EXPOSE 8080
# For Docker and compose; Kubernetes has probes of its own. The image has no curl.
HEALTHCHECK --interval=5s --timeout=2s --start-period=10s CMD ["bun", "-e", "const answer = await fetch('http://127.0.0.1:8080/grpc.health.v1.Health/Check', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' }); process.exit((await answer.json()).status === 1 ? 0 : 1)"]
# As a list, so that signals reach the server and no shell.
ENTRYPOINT ["bun", "run", "src/main.ts"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8080", "--workers", "auto"]
