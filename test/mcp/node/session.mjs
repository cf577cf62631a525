// A scripted session of the public client: node session.mjs PROGRAM DATA
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { ResourceUpdatedNotificationSchema } from "@modelcontextprotocol/sdk/types.js";
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";

const [program, data] = process.argv.slice(2);
const client = new Client({ name: "session", version: "1.0.0" });
const updated = new Promise((resolve) => client.setNotificationHandler(ResourceUpdatedNotificationSchema, (n) => resolve(n.params.uri)));
await client.connect(new StdioClientTransport({ command: program, args: ["mcp", "--data", data, "--agent", "node"] }));

const { tools } = await client.listTools();
assert.equal(tools.length, 17);
const call = async (name, args) => (await client.callTool({ name, arguments: args })).structuredContent;

const set = await call("state_set", { key: "plan", value: { steps: 1 } });
assert.equal(set.version, 1);
const conflict = await client.callTool({ name: "state_set", arguments: { key: "plan", value: 0, expected_version: 5 } });
assert.equal(conflict.isError, true);
assert.deepEqual(conflict.structuredContent.current.value, { steps: 1 });

const uri = "tidemark://agent/node/plan";
const { resourceTemplates } = await client.listResourceTemplates();
assert.ok(resourceTemplates[0].uriTemplate.startsWith("tidemark://agent/"));
await client.subscribeResource({ uri });
let heard;
updated.then((uri) => { heard = uri; });
// One write after the other: none may be in flight when the client is closed.
for (const end = Date.now() + 60_000; heard === undefined && Date.now() < end; await delay(200)) {
  await call("state_merge", { key: "plan", value: { at: Date.now() } });
}
assert.equal(heard, uri);
const { contents } = await client.readResource({ uri });
assert.equal(JSON.parse(contents[0].text).value.steps, 1);
assert.equal((await call("why", { key: "plan" })).event.type, "agent.state_set");
await client.close();
console.log("done");
