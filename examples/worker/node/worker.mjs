// A task worker with a plain NATS client. It asks the engine for the next task, does the
// job of each and reports the result. Several workers may run, also under one agent id:
// each task is given to one of them at a time. If this process dies, the lease of its task
// runs out and another worker gets it; what this one reports later is refused.
import { randomBytes } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { connect, headers } from "@nats-io/transport-node";

const LEASE = 10_000; // ms; the engine gives the task to another worker when it is not renewed
const POLL = 10_000; // ms that the engine waits for a task before it answers that there is none

const agent = process.argv[3] ?? "worker-node";
const nc = await connect({
  servers: process.argv[2] ?? "127.0.0.1:4222", name: agent,
  waitOnFirstConnect: true, maxReconnectAttempts: -1, reconnectTimeWait: 200, ignoreAuthErrorAbort: true,
});
const stopping = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stopping.abort());

// A UUIDv7: the engine recognises it without a time limit.
function commandID() {
  const id = randomBytes(16);
  id.writeUIntBE(Date.now(), 0, 6);
  id[6] = (id[6] & 0x0f) | 0x70;
  id[8] = (id[8] & 0x3f) | 0x80;
  return id.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

// Sends a command until it is answered, always under the same id, so that it takes effect
// once. extra is how long the engine may take besides, in ms.
async function command(subject, body, { extra = 0, until } = {}) {
  const h = headers();
  h.set("Nats-Msg-Id", commandID());
  const aborted = new Promise((_, reject) => until?.addEventListener("abort", reject, { once: true }));
  aborted.catch(() => {});
  while (!until?.aborted) {
    try {
      const asked = nc.request("commands." + subject, JSON.stringify(body), { timeout: extra + 10_000, headers: h });
      asked.catch(() => {});
      const reply = await Promise.race([asked, aborted]);
      const code = reply.headers?.get("Nats-Service-Error-Code");
      if (code !== "429" && code !== "503") return { code, reply };
    } catch {
      // the engine is unavailable or slow
    }
    if (!until?.aborted) await wait(250);
  }
  return { code: "stopped" };
}

// The job adds the numbers of the payload. A task without numbers fails.
async function job({ numbers = [], ms = 0 }) {
  await wait(ms);
  if (numbers.length === 0) return ["fail", { reason: "no-numbers", detail: "the payload has nothing to add" }];
  return ["complete", { result: { sum: numbers.reduce((a, b) => a + b, 0) } }];
}

async function work({ task, fence }) {
  const holder = { agent_id: agent, fence };
  const renewing = setInterval(() => command(`task.${task.task_id}.progress`, holder, { until: done.signal }), LEASE / 3);
  const done = new AbortController();
  const [verb, body] = await job(task.payload ?? {});
  clearInterval(renewing);
  done.abort();
  const { code, reply } = await command(`task.${task.task_id}.${verb}`, { ...body, ...holder });
  // 409: the lease ran out and another worker has the task
  if (code) console.error(`${task.task_id} ${verb}: ${code} ${reply?.string()}`);
  else console.log(task.task_id, verb);
}

while (!stopping.signal.aborted) {
  const { code, reply } = await command("tasks.next", { kind: "sum", agent_id: agent, lease_ms: LEASE, wait_ms: POLL }, { extra: POLL, until: stopping.signal });
  if (!code) await work(reply.json());
  else if (code !== "404" && code !== "stopped") {
    console.error(`tasks.next: ${code} ${reply.string()}`);
    await wait(1000);
  }
}
await nc.close();
