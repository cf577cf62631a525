// The public validation suite.
import { randomUUID } from "node:crypto";
import { validate } from "@langchain/langgraph-checkpoint-validation";
import { TidemarkSaver } from "@tidemark/langgraph-checkpoint";

validate({
  checkpointerName: "@tidemark/langgraph-checkpoint",
  // Each saver has a namespace of its own.
  createCheckpointer: () => TidemarkSaver.connect({ servers: process.env.NATS_URL, namespace: randomUUID() }),
  destroyCheckpointer: (saver) => saver.close(),
});
