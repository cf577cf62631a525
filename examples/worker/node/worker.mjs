// A task worker with a plain NATS client: it takes what TASK_EXECUTION says has
// been started, does the job and reports back. A job may be done twice, when its
// message comes again; its report counts once.
import { createHash } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { jetstream } from "@nats-io/jetstream";
import { connect, headers } from "@nats-io/transport-node";

// task-processor's rate_limit, messages a second. The server has no such field:
// whoever pulls keeps to it.
const LIMIT = 1000;

const nc = await connect({
  servers: process.argv[2] ?? "127.0.0.1:4222", name: "worker-node",
  maxReconnectAttempts: -1, reconnectTimeWait: 200, ignoreAuthErrorAbort: true,
});
const consumer = await jetstream(nc).consumers.get("TASK_EXECUTION", "task-processor");
const messages = await consumer.consume({ max_messages: 100, expires: 30_000 });

// Derived from the event, so that a job done twice is one effect, and a UUIDv7
// of the event's time, so that this holds for ever.
function commandID(event) {
  const id = createHash("sha256").update(event.digest).digest().subarray(0, 16);
  id.writeUIntBE(Date.parse(event.recorded_at), 0, 6);
  id[6] = (id[6] & 0x0f) | 0x70;
  id[8] = (id[8] & 0x3f) | 0x80;
  return id.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

// The job: add numbers. A task without any fails.
function job(event) {
  const numbers = event.state.payload?.numbers ?? [];
  if (numbers.length === 0) {
    return ["fail", { reason: "no-numbers", detail: "the payload has nothing to add" }];
  }
  return ["complete", { result: { sum: numbers.reduce((a, b) => a + b, 0) } }];
}

// Tells the engine what came of a task; true means that there is nothing left
// to tell.
async function report(event, verb, body) {
  const h = headers();
  h.set("Nats-Msg-Id", commandID(event));
  let reply;
  try {
    reply = await nc.request(`commands.task.${event.id}.${verb}`, JSON.stringify(body), { timeout: 15_000, headers: h });
  } catch {
    return false; // the engine is away, or slow
  }
  const code = reply.headers?.get("Nats-Service-Error-Code");
  if (code === "429" || code === "503") return false;
  if (code) console.error(`${event.id} ${verb}: ${code} ${reply.string()}`); // cancelled, or reported by another
  else console.log(`${event.id} ${verb} ${JSON.stringify(body)}`);
  return true;
}

let stopping = false;

// Does the job of one message and acknowledges it once the engine has taken the
// report.
async function handle(m) {
  let event;
  try {
    event = m.json();
  } catch (err) {
    console.error(`${m.subject} is no event: ${err}`);
    m.term(); // unacknowledged, it comes again
    return;
  }
  const [verb, body] = job(event);
  while (!(await report(event, verb, body))) {
    if (stopping) return;
    m.working(); // waiting is not failing: keep the message
    await wait(250);
  }
  m.ack();
}

const jobs = new Set(); // at most max_ack_pending = 100 at a time
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => {
    stopping = true;
    messages.stop();
  });
}
let next = Date.now();
for await (const m of messages) {
  next = Math.max(next + 1000 / LIMIT, Date.now() - 100);
  if (next > Date.now()) await wait(next - Date.now());
  const running = handle(m).finally(() => jobs.delete(running));
  jobs.add(running);
}
await Promise.all(jobs);
await nc.drain();
