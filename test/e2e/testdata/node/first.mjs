// First steps from Node: nothing but the public NATS client and the wire
// contract. The server's URL is the only argument; exit code 0 means that all
// went as promised.
import assert from "node:assert/strict";
import { connect, headers } from "@nats-io/transport-node";
import { Kvm } from "@nats-io/kv";

const nc = await connect({ servers: process.argv[2], name: "node" });
const agent = "node1";

class Refusal extends Error {
  constructor(reply) {
    super(reply.headers.get("Nats-Service-Error"));
    this.status = Number(reply.headers.get("Nats-Service-Error-Code"));
    this.error = reply.json().error;
  }
}

async function ask(subject, body, id) {
  const h = headers();
  if (id) h.set("Nats-Msg-Id", id);
  const reply = await nc.request(subject, JSON.stringify(body), { timeout: 10_000, headers: h });
  if (reply.headers?.get("Nats-Service-Error-Code")) throw new Refusal(reply);
  return reply.json();
}
const set = (body, id) => ask(`commands.agent.${agent}.set`, body, id);
const get = (body) => ask(`queries.agent.${agent}.get`, body);

async function refused(promise, status, kind, code) {
  const no = await promise.then(() => assert.fail("not refused"), (err) => err);
  assert.ok(no instanceof Refusal, no);
  assert.deepEqual([no.status, no.error.kind, no.error.code], [status, kind, code]);
  assert.ok(no.message.includes(no.error.message.slice(0, 20)), no.message);
  return no;
}

// Watch: the bucket shows every change.
const kv = await new Kvm(nc).open("AGENT_STATE");
const seen = [];
const watch = await kv.watch({ key: `${agent}.>` });
const watching = (async () => {
  for await (const e of watch) {
    seen.push(e.operation === "PUT" ? e.json() : e.operation);
    if (seen.length === 3) return;
  }
})();

// Set, and get by the receipt's token.
const first = await set({ key: "plan", value: { steps: ["look", "leap"] } }, "node-command-1");
assert.equal(first.outcome, "accepted");
assert.equal(first.version, 1);
assert.equal(first.command_id, "node-command-1");
for (const [consistency, source] of [["cached", "memory"], ["hot", "kv"], ["durable", "sql"], ["strong", "journal"]]) {
  const e = await get({ key: "plan", consistency, token: first.token });
  assert.deepEqual([e.value, e.version, e.source], [{ steps: ["look", "leap"] }, 1, source]);
}
const again = await set({ key: "plan", value: { steps: ["look", "leap"] } }, "node-command-1");
assert.deepEqual(again, { ...first, replayed: true });
console.log("set and get");

// Conflict: 409 says what it lost against.
const conflict = await refused(set({ key: "plan", value: 1, strategy: "reject" }), 409, "conflict", "state.conflict");
assert.equal(conflict.error.details.version, 1);
assert.equal(conflict.error.details.revision, first.revision);
const second = await set({ key: "plan", value: 2, strategy: "reject", expected_version: conflict.error.details.version });
assert.equal(second.version, 2);
console.log("conflict");

// Refusals: each with its code.
await refused(set({ key: "a b", value: 1 }), 400, "invalid", "key.invalid");
await refused(set({ key: "a", value: 1, colour: "red" }), 400, "invalid", "body.unknown_field");
await refused(get({ key: "none" }), 404, "not_found", "state.not_found");
await refused(ask(`commands.agent.${agent}.fly`, {}), 404, "not_found", "command.unknown");
console.log("refusal");

await ask(`commands.agent.${agent}.delete`, { key: "plan" });
await watching;
assert.deepEqual(seen[0].value, { steps: ["look", "leap"] });
assert.deepEqual(Object.keys(seen[0]).sort(), ["agent_id", "digest", "revision", "timestamp", "value", "version"]);
assert.deepEqual([seen[0].agent_id, seen[0].version, seen[0].revision], [agent, 1, first.revision]);
assert.deepEqual([seen[1].value, seen[1].version], [2, 2]);
assert.equal(seen[2], "DEL");
console.log("watch");

await nc.drain();
