// A catch-up subscription from Node: nothing but the public NATS client and the
// wire contract. It prints each event of the journal once, in order, until the
// event of the key "end", whatever happens to the engine meanwhile.
import { connect } from "@nats-io/transport-node";

const nc = await connect({ servers: process.argv[2], maxReconnectAttempts: -1, reconnectTimeWait: 100 });

let from = 1; // a real subscriber stores it with what it has done for the events
for (let end = false; !end; ) {
  let page;
  try {
    const body = JSON.stringify({ from, limit: 300, wait_ms: 5000 });
    const reply = await nc.request("queries.events.read", body, { timeout: 10_000 });
    page = reply.json();
    if (page.error) throw new Error(page.error.message);
  } catch (err) {
    await new Promise((wake) => setTimeout(wake, 100)); // the same page again
    continue;
  }
  for (const e of page.events) {
    console.log(e.revision, e.type, e.id, e.key, e.version, e.digest);
    end ||= e.key === "end";
  }
  from = page.next;
}
await nc.drain();
