// A task worker with a plain NATS client. It pulls started tasks from the stream
// TASK_EXECUTION, does the job of each and reports the result. A redelivered
// message repeats the job; its report takes effect once.
import { createHash } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { jetstream } from "@nats-io/jetstream";
import { connect, headers } from "@nats-io/transport-node";

// The rate_limit of task-processor, in messages per second. The server has no such
// field, so each client that pulls applies it.
const LIMIT = 1000;

const nc = await connect({
  servers: process.argv[2] ?? "127.0.0.1:4222", name: "worker-node",
  maxReconnectAttempts: -1, reconnectTimeWait: 200, ignoreAuthErrorAbort: true,
});
const consumer = await jetstream(nc).consumers.get("TASK_EXECUTION", "task-processor");
const messages = await consumer.consume({ max_messages: 100, expires: 30_000 });

// Derived from the event, so that a repeated job takes effect once. It is a UUIDv7
// of the event's time, so that the engine recognises it without a time limit.
function commandID(event) {
  const id = createHash("sha256").update(event.digest).digest().subarray(0, 16);
  id.writeUIntBE(Date.parse(event.recorded_at), 0, 6);
  id[6] = (id[6] & 0x0f) | 0x70;
  id[8] = (id[8] & 0x3f) | 0x80;
  return id.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

// The job adds the numbers of the payload. A task without numbers fails.
function job(event) {
  const numbers = event.state.payload?.numbers ?? [];
  if (numbers.length === 0) {
    return ["fail", { reason: "no-numbers", detail: "the payload has nothing to add" }];
  }
  return ["complete", { result: { sum: numbers.reduce((a, b) => a + b, 0) } }];
}

// Sends the result of a task to the engine; true means that no retry is needed.
async function report(event, verb, body) {
  const h = headers();
  h.set("Nats-Msg-Id", commandID(event));
  let reply;
  try {
    reply = await nc.request(`commands.task.${event.id}.${verb}`, JSON.stringify(body), { timeout: 15_000, headers: h });
  } catch {
    return false; // the engine is unavailable or slow
  }
  const code = reply.headers?.get("Nats-Service-Error-Code");
  if (code === "429" || code === "503") return false;
  if (code) console.error(`${event.id} ${verb}: ${code} ${reply.string()}`); // cancelled, or another worker reported it
  else console.log(`${event.id} ${verb} ${JSON.stringify(body)}`);
  return true;
}

let stopping = false;

// Does the job of one message and acknowledges it after the engine has accepted
// the report.
async function handle(m) {
  let event;
  try {
    event = m.json();
  } catch (err) {
    console.error(`${m.subject}: the message is not an event: ${err}`);
    m.term(); // without it the server redelivers the message
    return;
  }
  const [verb, body] = job(event);
  while (!(await report(event, verb, body))) {
    if (stopping) return;
    m.working(); // extends ack_wait while the engine does not answer
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
