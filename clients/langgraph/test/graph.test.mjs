// Runs graphs of LangGraph on the engine at NATS_URL.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, test } from "node:test";
import { MemorySaver } from "@langchain/langgraph-checkpoint";
import { Annotation, Command, END, START, StateGraph, interrupt } from "@langchain/langgraph";
import { connect } from "@tidemark/client";
import { TidemarkSaver } from "@tidemark/langgraph-checkpoint";

const servers = process.env.NATS_URL, namespace = randomUUID();
const saver = await TidemarkSaver.connect({ servers, namespace });
after(() => saver.close());

async function all(rows) {
  const out = [];
  for await (const row of rows) out.push(row);
  return out;
}

function graph(checkpointer) {
  const State = Annotation.Root({
    messages: Annotation({ reducer: (a, b) => a.concat(b), default: () => [] }),
    document: Annotation(),
    approved: Annotation(),
  });
  const inner = new StateGraph(Annotation.Root({ approved: Annotation() }))
    .addNode("ask", () => ({ approved: interrupt("approve?") }))
    .addEdge(START, "ask").addEdge("ask", END).compile();
  return new StateGraph(State)
    .addNode("talk", (s) => ({ messages: [{ role: "assistant", text: `answer ${s.messages.length} `.padEnd(300, "a") }] }))
    .addNode("approve", inner)
    .addEdge(START, "talk").addEdge("talk", "approve").addEdge("approve", END)
    .compile({ checkpointer });
}

test("an interrupted subgraph goes on in another process", async () => {
  const config = { configurable: { thread_id: "human" } };
  await graph(saver).invoke({ messages: [{ role: "user", text: "go" }], document: "d" }, config);
  const second = await TidemarkSaver.connect({ servers, namespace });
  const state = await graph(second).getState(config);
  assert.equal(state.tasks[0].interrupts[0].value, "approve?");
  const done = await graph(second).invoke(new Command({ resume: "yes" }), config);
  assert.equal(done.approved, "yes");
  assert.equal(done.messages.length, 2);
  assert.equal((await graph(saver).getState(config)).values.approved, "yes");
  await second.close();
});

test("a conversation takes at most a tenth of the bytes of the naive saver", async () => {
  const config = { configurable: { thread_id: "bytes" } };
  const naive = new MemorySaver();
  const State = Annotation.Root({
    messages: Annotation({ reducer: (a, b) => a.concat(b), default: () => [] }),
    document: Annotation(),
  });
  const build = (checkpointer) => new StateGraph(State)
    .addNode("talk", (s) => ({ messages: [{ role: "assistant", text: `${s.messages.length} `.padEnd(400, "answer ") }] }))
    .addEdge(START, "talk").addEdge("talk", END).compile({ checkpointer });
  for (const checkpointer of [naive, saver]) {
    const g = build(checkpointer);
    for (let turn = 0; turn < 40; turn++) {
      await g.invoke({ messages: [{ role: "user", text: `question ${turn} `.padEnd(200, "q") }], ...(turn === 0 && { document: "d".repeat(20_000) }) }, config);
    }
  }
  const size = (value) => JSON.stringify(value, (_, v) => (v instanceof Uint8Array ? new TextDecoder().decode(v) : v)).length;
  const naiveBytes = size(naive.storage) + size(naive.writes);
  const client = await connect({ servers });
  const agents = await all(client.list("agents.list", { prefix: "lg_" }));
  const ours = (await all(client.agent(agents.find((a) => a.agent_id === `lg_${namespace}_bytes`).agent_id).entries())).reduce((n, e) => n + size(e.value), 0);
  await client.close();
  console.log(`naive ${naiveBytes} bytes, here ${ours}: ${(naiveBytes / ours).toFixed(1)} times`);
  assert.ok(ours * 10 <= naiveBytes, `${ours} of ${naiveBytes}`);
});
