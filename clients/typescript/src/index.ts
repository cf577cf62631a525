export { Agent, type Change, type Entry, type Point, type ReadOptions, type SetOptions, type Version, type WriteOptions } from "./agent.js";
export { Batch, type Result } from "./batch.js";
export { Client, connect, type Body, type CommandOptions, type Options, type QueryOptions, type Receipt } from "./client.js";
export { Claim, type ClaimOptions, type Message, type Reminder, type Schedule, type Session } from "./documents.js";
export { TidemarkError, isError, type Kind } from "./errors.js";
export { type EventsFrom, type TidemarkEvent } from "./events.js";
export { newId } from "./ids.js";
export { Failure, Tasks, Work, type CreateOptions, type NextOptions, type Task, type WorkerOptions } from "./tasks.js";
export type * as wire from "./wire.js";
