import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, test } from "node:test";
import { connect } from "@tidemark/client";
import { TidemarkStore } from "@tidemark/langgraph-checkpoint";

const servers = process.env.NATS_URL, namespace = randomUUID();
const store = await TidemarkStore.connect({ servers, namespace });
after(() => store.close());

test("items", async () => {
  await store.put(["users", "ada"], "prefs", { theme: "dark", n: 1 });
  const first = await store.get(["users", "ada"], "prefs");
  assert.deepEqual(first.value, { theme: "dark", n: 1 });
  await store.put(["users", "ada"], "prefs", { theme: "light", n: 2 });
  const second = await store.get(["users", "ada"], "prefs");
  assert.equal(second.value.theme, "light");
  assert.deepEqual(second.createdAt, first.createdAt);
  assert.ok(second.updatedAt >= first.updatedAt);
  assert.equal(await store.get(["users", "ada"], "none"), null);
  await store.delete(["users", "ada"], "prefs");
  await store.delete(["users", "ada"], "prefs");
  assert.equal(await store.get(["users", "ada"], "prefs"), null);
});

test("names and values of any form", async () => {
  for (const [ns, key] of [[["a b", "é/x"], "k.k"], [["__proto__"], "constructor"], [["x".repeat(500)], "y".repeat(500)]]) {
    await store.put(ns, key, { ns });
    assert.deepEqual((await store.get(ns, key)).value, { ns });
    assert.deepEqual((await store.search(ns)).map((i) => i.key), [key]);
  }
  let deep = {};
  for (let i = 0; i < 100; i++) deep = { deep };
  for (const value of [{ deep }, { lone: "\ud800" }, { nul: "\u0000" }, { big: "x".repeat(2_000_000) }]) {
    await store.put(["odd"], "k", value);
    assert.deepEqual((await store.get(["odd"], "k")).value, value);
  }
  await assert.rejects(store.put(Array.from({ length: 30 }, (_, i) => `label-number-${i}`), "k", {}), /too many labels/);
  await assert.rejects(store.put([], "k", {}));
});

test("search and namespaces", async () => {
  for (let i = 0; i < 25; i++) await store.put(["docs", i % 2 ? "odd" : "even"], `d${String(i).padStart(2, "0")}`, { i, tag: i % 3 ? "x" : "y" });
  await store.put(["docsother"], "no", { i: 99 });
  assert.equal((await store.search(["docs"])).length, 10);
  assert.equal((await store.search(["docs"], { limit: 100 })).length, 25);
  assert.deepEqual((await store.search(["docs", "odd"], { limit: 2, offset: 1 })).map((x) => x.value.i), [3, 5]);
  assert.equal((await store.search(["docs"], { filter: { tag: "y" }, limit: 100 })).length, 9);
  assert.deepEqual((await store.search(["docs"], { filter: { i: { $gte: 23 } }, limit: 100 })).map((x) => x.value.i).sort(), [23, 24]);
  const spaces = await store.listNamespaces({ prefix: ["docs"] });
  assert.deepEqual(spaces, [["docs", "even"], ["docs", "odd"]]);
  assert.deepEqual(await store.listNamespaces({ prefix: ["docs"], maxDepth: 1 }), [["docs"]]);
  assert.deepEqual(await store.listNamespaces({ prefix: ["docs"], suffix: ["odd"] }), [["docs", "odd"]]);
  const other = await TidemarkStore.connect({ servers, namespace: randomUUID() });
  assert.deepEqual(await other.search([]), []);
  await other.close();
});

test("many puts of one item at once", async () => {
  const second = await TidemarkStore.connect({ servers, namespace });
  await Promise.all([store, second].flatMap((s) => Array.from({ length: 10 }, (_, i) => s.put(["race"], "k", { i, big: "x".repeat(100_000) }))));
  assert.equal((await store.get(["race"], "k")).value.big.length, 100_000);
  await second.close();
});

test("puts that lose leave no parts", async (t) => {
  const namespace = randomUUID(), client = await connect({ servers });
  const stores = await Promise.all([1, 2].map(() => TidemarkStore.connect({ servers, namespace })));
  t.after(() => Promise.all([...stores, client].map((c) => c.close())));
  for (const odd of ["\ud800", "x".repeat(100_000)]) {
    await Promise.all(stores.flatMap((s) => Array.from({ length: 8 }, (_, i) => s.put(["parts"], "k", { i, odd }))));
    const ids = new Set();
    for await (const { key } of client.agent(`lgstore_${namespace}`).entries("pt.")) ids.add(key.split(".")[2]);
    assert.equal(ids.size, 1);
  }
  await stores[0].delete(["parts"], "k");
  for await (const { key } of client.agent(`lgstore_${namespace}`).entries("pt.")) assert.fail(key);
});
