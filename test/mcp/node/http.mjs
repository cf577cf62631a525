// Two sessions of the public client over HTTP: node http.mjs URL
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ResourceUpdatedNotificationSchema } from "@modelcontextprotocol/sdk/types.js";
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";

const url = process.argv[2];
const connect = async () => {
  const client = new Client({ name: "http", version: "1.0.0" });
  await client.connect(new StreamableHTTPClientTransport(new URL(`${url}?agent=node`)));
  return client;
};
const clients = await Promise.all([connect(), connect()]);
const [one] = clients;
const { tools } = await one.listTools();
assert.equal(tools.length, 17);
const call = async (client, name, args) => (await client.callTool({ name, arguments: args })).structuredContent;

await Promise.all(clients.map(async (client, c) => {
  for (let n = 0; n < 20; n++) await call(client, "state_append", { key: "list", items: [`${c}-${n}`] });
}));
const { value } = await call(one, "state_get", { key: "list", agent: "node" });
assert.equal(new Set(value).size, 40);

const conflict = await one.callTool({ name: "state_set", arguments: { key: "list", value: 0, expected_version: 5 } });
assert.equal(conflict.isError, true);
assert.equal(conflict.structuredContent.current.value.length, 40);
const { contents } = await one.readResource({ uri: "tidemark://agent/node/list" });
assert.equal(JSON.parse(contents[0].text).value.length, 40);

const uri = "tidemark://agent/node/watched";
const updated = new Promise((resolve) => one.setNotificationHandler(ResourceUpdatedNotificationSchema, (n) => resolve(n.params.uri)));
await one.subscribeResource({ uri });
let heard;
updated.then((uri) => { heard = uri; });
// One write after the other: none may be in flight when its client is closed.
for (const end = Date.now() + 60_000; heard === undefined && Date.now() < end; await delay(200)) {
  await call(clients[1], "state_set", { key: "watched", value: Date.now() });
}
assert.equal(heard, uri);
await Promise.all(clients.map((client) => client.close()));
console.log("done");
