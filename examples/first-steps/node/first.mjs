// The first steps with a plain NATS client, without an SDK: four requests to a
// running engine and a watch of the hot bucket.
import { connect } from "@nats-io/transport-node";
import { Kvm } from "@nats-io/kv";

const nc = await connect({ servers: process.argv[2] ?? "127.0.0.1:4222" });

async function ask(subject, body) {
  console.log(`>      ${subject} ${body}`);
  const reply = await nc.request(subject, body, { timeout: 5000 });
  const code = reply.headers?.get("Nats-Service-Error-Code");
  console.log(`< ${code ? code + " " : "    "} ${reply.string()}`);
}

// Every client may watch the hot bucket.
const kv = await new Kvm(nc).open("AGENT_STATE");
const watch = await kv.watch({ key: "node-agent.>", include: "updates" });

await ask("commands.agent.node-agent.set", '{"key":"plan","value":{"goal":"ship","steps":3},"strategy":"last_write_wins"}');
await ask("queries.agent.node-agent.get", '{"key":"plan"}');
await ask("commands.agent.node-agent.set", '{"key":"plan","value":"mine","strategy":"reject"}'); // a conflict
await ask("commands.agent.node-agent.set", '{"key":"no spaces","value":1}'); // a refusal

for await (const update of watch) {
  console.log(`watch  ${update.key} = ${update.string()}`);
  break;
}
await nc.close();
