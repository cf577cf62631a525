// What the contract offers, from the public NATS client for Node. Arguments: the
// server's URL, the id of an agent of alice, and where clients need credentials: their
// kind ("creds" or "nkey") and the files of alice, wendy and boss.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connect, credsAuthenticator, headers, nkeyAuthenticator } from "@nats-io/transport-node";
import { jetstream } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";

const [servers, id, kind, ...files] = process.argv.slice(2);
const wait = 60_000;

async function as(i, name) {
  const options = { servers: servers.split(","), name, noRandomize: true };
  if (kind) {
    const secret = readFileSync(files[i]);
    options.authenticator = kind === "creds" ? credsAuthenticator(secret) : nkeyAuthenticator(new TextEncoder().encode(secret.toString().trim()));
  }
  return await connect(options);
}

async function ask(nc, subject, body) {
  const reply = await nc.request(subject, JSON.stringify(body), { timeout: wait });
  const code = reply.headers?.get("Nats-Service-Error-Code");
  assert.ok(!code, `${subject}: ${code} ${reply.string()}`);
  return reply.json();
}

const alice = await as(0, "alice");
const kv = await new Kvm(alice).open("AGENT_STATE");
const watch = await kv.watch({ key: `${id}.>` });
const js = jetstream(alice);
const feed = await js.consumers.get("AGENT_STATE", { filter_subjects: [`agents.state.${id}.>`] });
const outcomes = alice.subscribe("outcomes.>");
await alice.flush();

const receipt = await ask(alice, `commands.agent.${id}.set`, { key: "k", value: 1 });
assert.equal(receipt.version, 1);
const entry = await ask(alice, `queries.agent.${id}.get`, { key: "k", consistency: "strong" });
assert.equal(entry.value, 1);
console.log("commands");

const h = headers();
h.set("Nats-Msg-Id", `q-${id}`);
const ack = await js.publish(`enqueue.agent.${id}.set`, '{"key":"queued","value":2}', { headers: h, timeout: wait });
assert.ok(ack.stream);
for await (const m of outcomes) {
  if (m.subject !== `outcomes.q-${id}`) continue;
  assert.equal(m.json().outcome, "accepted");
  break;
}
console.log("queue");

const seen = new Set();
for await (const e of watch) {
  seen.add(e.key);
  if (seen.size === 2) break;
}
assert.equal((await kv.get(`${id}.k`)).json().value, 1);
for await (const e of await kv.history({ key: `${id}.k` })) {
  assert.equal(e.json().version, 1);
}
const fed = [];
for await (const m of await feed.consume()) {
  fed.push(m.subject);
  if (fed.length === 2) break;
}
assert.deepEqual(fed, [`agents.state.${id}.k`, `agents.state.${id}.queued`]);
const ping = await alice.request("$SRV.PING.tidemark", "", { timeout: wait });
assert.equal(ping.json().name, "tidemark");
console.log("views");

const wendy = await as(1, "wendy");
const tasks = await jetstream(wendy).consumers.get("TASK_EXECUTION", "task-processor");
const boss = await as(2, "boss");
await ask(boss, `commands.task.${id}.create`, { kind: "x" });
await ask(boss, `commands.task.${id}.start`, { agent_id: id });
for (let ends = 0; ends < 2; ) {
  const m = await tasks.next({ expires: wait });
  assert.ok(m, "no task");
  if (!m.subject.endsWith(`.${id}`)) {
    m.ack(); // of another client
    continue;
  }
  if (++ends === 1) m.nak();
  else assert.ok(await m.ackAck());
}
console.log("tasks");
for (const nc of [boss, wendy, alice]) await nc.close();
