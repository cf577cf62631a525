// Runs on the engine at NATS_URL.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { headers } from "@nats-io/transport-node";
import { Failure, TidemarkError, connect, isError, newId } from "@tidemark/client";

const client = await connect({ servers: process.env.NATS_URL, writer: "test" });
after(() => client.close());

async function all(rows) {
  const out = [];
  for await (const row of rows) out.push(row);
  return out;
}

test("ids are ULIDs", () => {
  const ids = Array.from({ length: 1000 }, newId);
  assert.equal(new Set(ids).size, 1000);
  for (const id of ids) assert.match(id, /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/);
});

test("entries", async () => {
  const a = client.agent("ts-entries");
  const first = await a.set("plan.a", { goal: "ship" });
  assert.equal(first.version, 1);
  assert.deepEqual((await a.get("plan.a")).value, { goal: "ship" });
  await a.set("plan.b", 2, { strategy: "last_write_wins" });
  await assert.rejects(a.set("plan.b", 3, { expectedVersion: 9 }), (e) => isError(e, "conflict") && isError(e, "state.conflict") && e.details.version === 1);
  assert.equal(await a.find("none"), undefined);
  await assert.rejects(a.get("none"), (e) => e instanceof TidemarkError && e.status === 404);
  await assert.rejects(client.agent("a b").set("k", 1), (e) => isError(e, "id.invalid"));
  await assert.rejects(a.get("not a key"), (e) => isError(e, "key.invalid"));
  assert.deepEqual((await all(a.entries("plan."))).map((e) => [e.key, e.value]), [["plan.a", { goal: "ship" }], ["plan.b", 2]]);
  assert.deepEqual((await a.merge("plan.a", { goal: null, done: true })).value, { done: true });
  assert.equal((await a.add("plan.b", 0.5, { max: 3 })).value, 2.5);
  await assert.rejects(a.add("plan.b", 9, { max: 3 }), (e) => isError(e, "rejected"));
  assert.deepEqual((await a.append("list", [1, 2, 3], { maxItems: 2 })).value, [2, 3]);
  assert.deepEqual((await all(a.history("plan.a"))).map((v) => v.version), [2, 1]);
  assert.deepEqual((await a.get("plan.a", { atRevision: first.revision })).value, { goal: "ship" });
  await a.revert({ revision: first.revision }, { key: "plan.a", reason: "test" });
  assert.deepEqual((await a.get("plan.a")).value, { goal: "ship" });
  const fork = await a.fork("ts-fork");
  assert.deepEqual((await fork.get("list")).value, [2, 3]);
  await a.delete("list");
  assert.equal(await a.find("list"), undefined);
});

test("many updates of one entry all count", async () => {
  const a = client.agent("ts-update");
  await Promise.all(Array.from({ length: 20 }, () => a.update("n", (n = 0) => n + 1)));
  assert.equal((await a.get("n")).value, 20);
});

test("pages", async () => {
  const a = client.agent("ts-pages");
  const batch = client.batch();
  for (let i = 0; i < 250; i++) batch.set("ts-pages", `k${String(i).padStart(3, "0")}`, i);
  assert.equal((await batch.send()).length, 250);
  assert.deepEqual((await all(a.entries())).map((e) => e.value), Array.from({ length: 250 }, (_, i) => i));
});

test("batches", async () => {
  const lock = await client.acquire("ts-lock", "ada", { leaseMs: 60_000 });
  await assert.rejects(client.acquire("ts-lock", "bob"), (e) => isError(e, "claim.held") && e.details.owner === "ada");
  const receipts = await client.batch().set("ts-batch", "a", 1).set("ts-batch", "b", 2).requireOwner("ts-lock", "ada").send();
  assert.deepEqual(receipts.map((r) => r.key), ["a", "b"]);
  await lock.renew();
  await lock.release();
  await assert.rejects(client.batch().set("ts-batch", "a", 3).requireOwner("ts-lock", "ada").send(), (e) => isError(e, "require.failed"));
  const each = await client.batch().set("ts-batch", "a", 3).command("task.none.start", { agent_id: "x" }).sendEach();
  assert.equal(each[0].receipt.version, 2);
  assert.equal(each[1].error.code, "task.not_found");
});

test("watch", async () => {
  const a = client.agent("ts-watch");
  await a.set("mood", "calm");
  const seen = [];
  for await (const change of a.watch()) {
    seen.push(change.deleted ? "gone" : change.value);
    if (seen.length === 1) await a.set("mood", "happy");
    if (seen.length === 2) await a.delete("mood");
    if (seen.length === 3) break;
  }
  assert.deepEqual(seen, ["calm", "happy", "gone"]);
});

test("events", async () => {
  const a = client.agent("ts-events");
  const first = await a.set("k", 1);
  const stop = new AbortController();
  const types = [];
  const reading = (async () => {
    for await (const event of client.events({ subject: "agent.ts-events.state.>", from: first.revision, signal: stop.signal })) {
      if (types.push(event.type) === 3) stop.abort();
    }
  })();
  await a.set("k", 2);
  await a.delete("k");
  await reading;
  assert.deepEqual(types, ["agent.state_set", "agent.state_set", "agent.state_deleted"]);
});

test("a worker completes, fails, retries and loses", async () => {
  const stop = new AbortController();
  await client.tasks.create("ts-good", "ts", { payload: { n: 2 }, priority: 9 });
  await client.tasks.create("ts-bad", "ts", { priority: 8 });
  await client.tasks.create("ts-twice", "ts", { priority: 7, retry: { maxAttempts: 2 } });
  await client.tasks.create("ts-cancelled", "ts", { priority: 6 });
  const attempts = {}, errors = [];
  await client.tasks.work({ kind: "ts", agent: "w", leaseMs: 600, signal: stop.signal, onError: (e) => errors.push(e) }, async (task, signal) => {
    attempts[task.task_id] = (attempts[task.task_id] ?? 0) + 1;
    if (task.task_id === "ts-bad") throw new Failure("bad-input", "no payload");
    if (task.task_id === "ts-twice" && attempts[task.task_id] === 1) throw new Error("try again");
    if (task.task_id === "ts-cancelled") {
      stop.abort();
      await client.tasks.cancel(task.task_id);
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    }
    return { double: (task.payload?.n ?? 0) * 2 };
  });
  assert.deepEqual((await client.tasks.get("ts-good")).result, { double: 4 });
  assert.equal((await client.tasks.get("ts-bad")).reason, "bad-input");
  assert.equal((await client.tasks.get("ts-twice")).status, "completed");
  assert.equal((await client.tasks.get("ts-cancelled")).status, "cancelled");
  assert.equal(errors.length, 1);
  assert.equal((await all(client.tasks.list({ kind: "ts", status: "completed" }))).length, 2);
});

test("a worker without onError warns", { timeout: 20_000 }, async (t) => {
  const stop = new AbortController();
  const warn = t.mock.method(console, "warn", () => stop.abort());
  const lonely = await connect({ servers: process.env.NATS_URL, prefix: "nobody", patience: 1 });
  await lonely.tasks.work({ agent: "w", signal: stop.signal }, () => assert.fail("there is no task"));
  assert.match(warn.mock.calls[0].arguments.join(" "), /^a claim or the report of a task failed: TidemarkError: engine.unanswered/);
  await lonely.close();
});

test("sessions, configuration, messages, reminders", async () => {
  await client.openSession("ts-s", "ada", { ttl: 60 });
  await client.putSession("ts-s", "cart", ["tea"]);
  assert.deepEqual((await client.getSession("ts-s")).data.cart, ["tea"]);
  await client.closeSession("ts-s");
  await client.setConfig("ts-c", "model", "small");
  assert.equal((await client.getConfig("ts-c", "model")).value, "small");
  await client.sendMessage("ada", "ts-bob", { text: "hello" });
  assert.deepEqual((await all(client.inbox("ts-bob", { kind: "direct" }))).map((m) => m.body), [{ text: "hello" }]);
  await client.remind("ts-r", { cron: "0 9 * * *", timezone: "Europe/Berlin" }, { subject: "agent.ts-r.set", body: { key: "k", value: 1 } });
  assert.equal((await client.cancelReminder("ts-r")).outcome, "accepted");
});

test("no engine: unavailable after the patience", async () => {
  const other = await connect({ servers: process.env.NATS_URL, prefix: "elsewhere", patience: 300 });
  await assert.rejects(other.agent("a").set("k", 1), (e) => isError(e, "unavailable"));
  await other.close();
});

test("a connection that fails names the servers, without passwords", async () => {
  await assert.rejects(connect({ servers: "nats://me:secret@127.0.0.1:1" }), (e) => e.message.includes("127.0.0.1:1") && !e.message.includes("secret"));
});

test("a signal ends every call at once", async () => {
  const nobody = await connect({ servers: process.env.NATS_URL, prefix: "nobody" });
  const soon = () => AbortSignal.timeout(100);
  const a = nobody.agent("a");
  const began = Date.now();
  for (const read of [a.get("k", { signal: soon() }), a.find("k", { signal: soon() }), all(a.entries("", { signal: soon() })), all(a.history("k", { signal: soon() })),
    nobody.query("agents.list", {}, { signal: soon() }), nobody.read("agents.list", {}, { signal: soon() }), all(nobody.list("agents.list", {}, { signal: soon() }))]) {
    await assert.rejects(read, { name: "TimeoutError" });
  }
  await assert.rejects(a.set("k", 1, { signal: soon() }), (e) => isError(e, "unavailable"));
  await nobody.close();
  assert.deepEqual(await all(client.events({ subject: "agent.nobody-at-all.>", signal: soon() })), []); // it would wait 5 s
  assert.ok(Date.now() - began < 4000, `${Date.now() - began} ms`);
  await client.remind("ts-signal", { everyMs: 3_600_000 }, { subject: "agent.ts-reminded.set", body: { key: "k", value: 1 } }, { signal: new AbortController().signal });
  await client.cancelReminder("ts-signal");
});

test("what an engine runs without is said at once; what went with a connection is asked again", async () => {
  const fake = await connect({ servers: process.env.NATS_URL, prefix: "ts-fake" });
  let lists = 0, gets = 0;
  fake.nc.subscribe("ts-fake.queries.agents.list", { callback: (_, m) => {
    lists++;
    const h = headers();
    h.set("Nats-Service-Error", "off");
    m.respond(JSON.stringify({ error: { kind: "unavailable", code: "sql.off", status: 503, message: "off" } }), { headers: h });
  } });
  fake.nc.subscribe("ts-fake.queries.agent.a.get", { callback: (_, m) => { if (++gets > 1) m.respond('{"value":1}'); } });
  await assert.rejects(fake.query("agents.list"), (e) => isError(e, "sql.off"));
  assert.equal(lists, 1);
  const began = Date.now();
  const entry = fake.agent("a").get("k");
  while (gets === 0) await new Promise((done) => setTimeout(done, 10));
  await fake.nc.reconnect();
  assert.equal((await entry).value, 1);
  assert.ok(Date.now() - began < 8000, `${Date.now() - began} ms`); // it would wait 10 s
  await fake.close();
});
