// Runs on the engine at NATS_URL: what went wrong in savers of others, each a test.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, test } from "node:test";
import { emptyCheckpoint, uuid6 } from "@langchain/langgraph-checkpoint";
import { connect } from "@tidemark/client";
import { TidemarkSaver } from "@tidemark/langgraph-checkpoint";

const servers = process.env.NATS_URL, namespace = randomUUID();
const saver = await TidemarkSaver.connect({ servers, namespace });
after(() => saver.close());

const at = (thread_id, checkpoint_ns = "", checkpoint_id) => ({ configurable: { thread_id, checkpoint_ns, ...(checkpoint_id && { checkpoint_id }) } });
const meta = (more = {}) => ({ source: "loop", step: 1, parents: {}, ...more });
const checkpoint = (values, id = uuid6(0)) => ({ ...emptyCheckpoint(), id, channel_values: values, channel_versions: Object.fromEntries(Object.keys(values).map((k) => [k, 1])) });
async function all(rows) {
  const out = [];
  for await (const row of rows) out.push(row);
  return out;
}

test("a value of 20 MB, at an interrupt too", async () => {
  const big = "é\u0000\ud83d\ude00 \\\"".repeat(2_500_000);
  await saver.put(at("big"), checkpoint({ big, list: [big.slice(0, 300_000), 1] }), meta(), { big: 1, list: 1 });
  const { checkpoint: saved, config } = await saver.getTuple(at("big"));
  assert.equal(saved.channel_values.big === big, true);
  assert.equal(saved.channel_values.list[0].length, 300_000);
  await saver.putWrites(config, [["__interrupt__", big]], "task-1");
  assert.equal((await saver.getTuple(at("big"))).pendingWrites[0][2] === big, true);
});

test("put keeps what putWrites has noted, and the first regular write stays", async () => {
  const c = checkpoint({ a: 1 });
  const config = await saver.put(at("noted"), c, meta(), { a: 1 });
  await saver.putWrites(config, [["x", 1], ["y", 2]], "t1");
  await saver.putWrites(config, [["x", 9], ["y", 9]], "t1");
  await saver.putWrites(config, [["__error__", "first"]], "t2");
  await saver.putWrites(config, [["__error__", "second"]], "t2");
  await saver.put(at("noted"), c, meta({ step: 2 }), { a: 1 });
  const { pendingWrites, metadata } = await saver.getTuple(config);
  assert.deepEqual(pendingWrites, [["t1", "x", 1], ["t1", "y", 2], ["t2", "__error__", "second"]].sort((a, b) => (a[0] < b[0] ? -1 : 0)));
  assert.equal(metadata.step, 2);
});

test("all channels come back when one has changed", async () => {
  let config = at("channels");
  for (let i = 0; i < 3; i++) {
    const c = checkpoint({ a: "A", b: i, nothing: null });
    c.channel_versions.b = i;
    config = await saver.put(config, c, meta({ step: i }), i ? { b: i } : { a: 1, b: 0, nothing: 1 });
  }
  const values = (await saver.getTuple(at("channels"))).checkpoint.channel_values;
  assert.equal(values.a, "A");
  assert.equal(values.b, 2);
  assert.equal(values.nothing, null);
});

test("filter, limit, before, ids of any form, the root namespace", async () => {
  const ids = ["1", "2 with spaces", "3.é", "4_" + "x".repeat(300), "9"];
  for (const [step, id] of ids.entries()) {
    await saver.put(at("listed"), checkpoint({ n: step }, id), meta({ step, kind: step % 2 ? "odd" : "even" }), { n: 1 });
    await saver.put(at("listed", "sub:graph|1"), checkpoint({ n: step }, id), meta({ step }), {});
  }
  const steps = async (config, options) => (await all(saver.list(config, options))).map((t) => t.metadata.step);
  assert.deepEqual(await steps(at("listed")), [4, 3, 2, 1, 0]);
  assert.deepEqual(await steps(at("listed"), { limit: 1, filter: { kind: "odd" } }), [3]);
  assert.deepEqual(await steps(at("listed"), { limit: 0 }), []);
  assert.deepEqual(await steps(at("listed"), { before: at("listed", "", ids[2]) }), [1, 0]);
  assert.deepEqual(await steps(at("listed", "sub:graph|1"), { limit: 2 }), [4, 3]);
  assert.equal((await all(saver.list({ configurable: { thread_id: "listed" } }))).length, 10);
  assert.equal((await saver.getTuple(at("listed", "", ids[1]))).checkpoint.channel_values.n, 1);
  assert.equal((await saver.getTuple(at("listed", "sub:graph|1"))).config.configurable.checkpoint_ns, "sub:graph|1");
  await saver.put(at("other thread"), checkpoint({}), meta({ only: "other" }), {});
  assert.deepEqual((await all(saver.list({}, { filter: { only: "other" } }))).map((t) => t.config.configurable.thread_id), ["other thread"]);
});

test("deleteThread leaves nothing, and the thread can begin again with the same values", async () => {
  const client = await connect({ servers });
  const put = () => saver.put(at("gone"), checkpoint({ long: "x".repeat(2000), list: ["y".repeat(500)] }), meta(), { long: 1, list: 1 });
  const config = await put();
  await saver.putWrites(config, [["w", "z".repeat(2000)]], "t");
  const second = await TidemarkSaver.connect({ servers, namespace });
  await second.getTuple(at("gone"));
  await second.deleteThread("gone");
  assert.equal(await saver.getTuple(at("gone")), undefined);
  const agents = await all(client.list("agents.list", { prefix: "lg_" }));
  const left = await all(client.agent(agents.find((a) => a.agent_id.endsWith("_gone")).agent_id).entries());
  assert.deepEqual(left, []);
  await put(); // by the saver that thinks that it knows the values
  assert.equal((await second.getTuple(at("gone"))).checkpoint.channel_values.long.length, 2000);
  await second.close();
  await client.close();
});

test("two programs put into one thread", async () => {
  const second = await TidemarkSaver.connect({ servers, namespace });
  await Promise.all([saver, second].flatMap((s) => Array.from({ length: 10 }, (_, i) => s.put(at("both"), checkpoint({ i, big: "b".repeat(1000) }), meta({ step: i }), { i: 1, big: 1 }))));
  const listed = await all(saver.list(at("both")));
  assert.equal(listed.length, 20);
  assert.equal((await second.getTuple(at("both"))).checkpoint.id, listed[0].checkpoint.id);
  await second.close();
});

/** A saver whose batches run `before` with their number, from 1, before they are sent. */
function intercepted(client, before) {
  let sent = 0;
  return new TidemarkSaver(new Proxy(client, {
    get(target, name) {
      if (name !== "batch") return typeof target[name] === "function" ? target[name].bind(target) : target[name];
      return () => {
        const batch = target.batch();
        for (const verb of ["send", "sendEach"]) {
          const send = batch[verb].bind(batch);
          batch[verb] = async () => {
            await before(++sent, verb);
            return send();
          };
        }
        return batch;
      };
    },
  }), { namespace });
}

test("a thread that is deleted while its first checkpoint is put", async (t) => {
  const client = await connect({ servers, writer: "langgraph" }), other = await TidemarkSaver.connect({ servers, namespace });
  t.after(() => Promise.all([client.close(), other.close()]));
  let deletes = 0;
  const racing = intercepted(client, async (_, verb) => { // send is of the checkpoint, whose values are stored
    if (verb === "send" && deletes++ === 0) await other.deleteThread("raced");
  });
  await racing.put(at("raced"), checkpoint({ long: "x".repeat(2000) }), meta(), { long: 1 });
  assert.equal(deletes, 2);
  assert.equal((await other.getTuple(at("raced"))).checkpoint.channel_values.long.length, 2000);
  await other.deleteThread("raced");
  assert.equal(await other.getTuple(at("raced")), undefined);
});

test("a thread that is deleted while writes are put", async (t) => {
  const client = await connect({ servers, writer: "langgraph" }), other = await TidemarkSaver.connect({ servers, namespace });
  t.after(() => Promise.all([client.close(), other.close()]));
  const c = checkpoint({ a: 1 }), config = await other.put(at("raced-writes"), c, meta(), { a: 1 });
  const racing = intercepted(client, async (sent) => { // the first is of the value, the second of the note
    if (sent === 2) await other.deleteThread("raced-writes");
  });
  await racing.putWrites(config, [["w", "z".repeat(2000)]], "t");
  await other.put(at("raced-writes"), c, meta(), { a: 1 });
  assert.equal((await other.getTuple(config)).pendingWrites[0][2].length, 2000);
});
