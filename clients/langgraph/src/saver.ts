import type { RunnableConfig } from "@langchain/core/runnables";
import {
  BaseCheckpointSaver, TASKS, WRITES_IDX_MAP, compareWritesSortKeys, copyCheckpoint, getCheckpointId, maxChannelVersion, writesSortKey,
  type ChannelVersions, type Checkpoint, type CheckpointListOptions, type CheckpointMetadata, type CheckpointPendingWrite, type CheckpointTuple,
  type PendingWrite, type SerializerProtocol,
} from "@langchain/langgraph-checkpoint";
import { connect, isError, type Agent, type Client, type Options } from "@tidemark/client";

import { Blobs, each, type Ref } from "./blobs.js";
import { token } from "./names.js";

/** How to reach an engine, and a namespace that keeps several savers apart on it. */
export interface SaverOptions extends Options {
  /** Default "default". */
  namespace?: string;
  /** Default: that of LangGraph. */
  serde?: SerializerProtocol;
}

/** A checkpoint as it is stored: its channel values are elsewhere, under their content. */
interface Row {
  thread: string;
  ns: string;
  id: string;
  parent?: string;
  checkpoint: Ref;
  metadata: Ref;
  /** Where the value of each channel is, and its version. */
  channels: Record<string, { version?: ChannelVersion; value: Ref }>;
}

type ChannelVersion = number | string;

/** The greatest checkpoint id of a thread and a checkpoint namespace; without one while the first is put. */
interface Head {
  id?: string;
  ns: string;
}

interface Write {
  task: string;
  idx: number;
  path: string;
  channel: string;
  value: Ref;
}

/**
 * Keeps the checkpoints of LangGraph threads in Tidemark: each thread is an agent, with its
 * whole history. Values of channels that do not change are stored once.
 */
export class TidemarkSaver extends BaseCheckpointSaver {
  readonly #blobs: Blobs;
  readonly #prefix: string;
  /** Versions of heads, by agent and key. */
  readonly #heads = new Map<string, { head: Head; version: number }>();

  /** Use {@link TidemarkSaver.connect}, or give a client, which `close` closes. */
  constructor(private readonly client: Client, options: Pick<SaverOptions, "namespace" | "serde"> = {}) {
    super(options.serde);
    this.#blobs = new Blobs(client);
    this.#prefix = `lg_${token(options.namespace ?? "default")}_`;
  }

  /** Connects to an engine. */
  static async connect(options: SaverOptions): Promise<TidemarkSaver> {
    return new TidemarkSaver(await connect({ writer: "langgraph", ...options }), options);
  }

  /** Ends the connection. */
  close(): Promise<void> {
    return this.client.close();
  }

  override async getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    const thread = config.configurable?.["thread_id"] as string | undefined;
    if (thread === undefined) return undefined;
    const ns = namespaceOf(config) ?? "";
    const agent = this.#agent(thread);
    let id = getCheckpointId(config) || undefined;
    const asked = id !== undefined;
    if (id === undefined) {
      const head = await agent.find<Head>(headKey(ns));
      id = head?.value.id;
      if (id === undefined) return undefined;
    }
    const row = await agent.find<Row>(rowKey(ns, id));
    if (!row) return undefined;
    const tuple = await this.#whole(agent, row.value);
    return tuple && asked ? { ...tuple, config } : tuple;
  }

  override async *list(config: RunnableConfig, options: CheckpointListOptions = {}): AsyncGenerator<CheckpointTuple> {
    const { filter, before } = options;
    let left = options.limit ?? Infinity;
    const thread = config.configurable?.["thread_id"] as string | undefined;
    const ns = namespaceOf(config), only = getCheckpointId(config) || undefined;
    const upTo = before?.configurable?.["checkpoint_id"] as string | undefined;
    for await (const agent of this.#threads(thread)) {
      if (left <= 0) return;
      const rows: Row[] = [];
      for await (const { value } of agent.entries<Row>(ns === undefined ? "cp." : `cp.${token(ns)}.`)) {
        if ((only === undefined || value.id === only) && (upTo === undefined || value.id < upTo)) rows.push(value);
      }
      rows.sort((a, b) => order(a.ns, b.ns) || order(b.id, a.id));
      for (const row of rows) {
        if (left <= 0) return;
        if (filter && !matches(await this.#load(agent, row.metadata), filter)) continue;
        const tuple = await this.#whole(agent, row);
        if (!tuple) continue;
        left--;
        yield tuple;
      }
    }
  }

  /**
   * Stores the values of the channels in newVersions. Those of the others are the parent's, if
   * it has them in the same version; without a parent there are none.
   */
  override async put(config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, newVersions?: ChannelVersions): Promise<RunnableConfig> {
    const thread = required(config, "thread_id", "put checkpoint");
    const ns = namespaceOf(config) ?? "";
    const parent = config.configurable?.["checkpoint_id"] as string | undefined;
    const agent = this.#agent(thread);
    const { channel_values: values, ...rest } = copyCheckpoint(checkpoint);
    const versions = rest.channel_versions ?? {};
    for (;;) {
      const cached = this.#heads.has(agent.id + headKey(ns));
      if (!cached) this.#blobs.forget(agent); // another program may have deleted the thread since
      const head = await this.#head(agent, ns);
      const before = await this.#before(agent, ns, parent, versions, cached);
      const kept = new Map<string, Row["channels"][string]>(), names: string[] = [];
      for (const name of Object.keys(values)) {
        if (newVersions && !Object.hasOwn(newVersions, name)) {
          const old = before.get(name);
          if (old) kept.set(name, old);
          if (old || parent === undefined) continue;
        }
        names.push(name);
      }
      const serialized = await Promise.all([rest, metadata, ...names.map((name) => values[name])].map((value) => this.serde.dumpsTyped(value)));
      const refs = await this.#blobs.write(agent, serialized, head.id === undefined);
      const row: Row = {
        thread, ns, id: checkpoint.id, ...(parent === undefined ? {} : { parent }), checkpoint: refs[0]!, metadata: refs[1]!,
        channels: Object.fromEntries([...kept, ...names.map((name, i) => [name, { version: versions[name], value: refs[i + 2]! }] as const)]),
      };
      const newest = head.id !== undefined && head.id > checkpoint.id ? head.id : checkpoint.id;
      try {
        const receipts = await this.client.batch()
          .set(agent.id, rowKey(ns, checkpoint.id), row, { strategy: "last_write_wins" })
          .set(agent.id, headKey(ns), { id: newest, ns }, { strategy: "last_write_wins", expectedVersion: head.version })
          .send();
        if (this.#heads.size >= 4096) this.#heads.clear();
        this.#heads.set(agent.id + headKey(ns), { head: { id: newest, ns }, version: receipts[1]!.version });
        return { configurable: { thread_id: thread, checkpoint_ns: ns, checkpoint_id: checkpoint.id } };
      } catch (error) {
        if (!isError(error, "state.conflict")) throw error;
        this.#heads.delete(agent.id + headKey(ns)); // another program has put, or has deleted the thread
        this.#blobs.forget(agent);
      }
    }
  }

  override async putWrites(config: RunnableConfig, writes: PendingWrite[], taskId: string, taskPath = ""): Promise<void> {
    const thread = required(config, "thread_id", "put writes"), id = required(config, "checkpoint_id", "put writes");
    const ns = namespaceOf(config) ?? "";
    if (writes.length === 0) return;
    const agent = this.#agent(thread);
    const serialized = await Promise.all(writes.map(([, value]) => this.serde.dumpsTyped(value)));
    do { // again if another program has deleted the thread, with the values, before the writes were noted
      const refs = await this.#blobs.write(agent, serialized, true);
      for (let i = 0; i < writes.length; ) {
        const batch = this.client.batch();
        for (const end = Math.min(i + 100, writes.length); i < end; i++) {
          const channel = writes[i]![0] as string, idx = WRITES_IDX_MAP[channel] || i;
          const write: Write = { task: taskId, idx, path: taskPath, channel, value: refs[i]! };
          // A regular write is noted once; a special one (an error, an interrupt) replaces the one before.
          batch.set(agent.id, `${writesPrefix(ns, id)}${token(taskId)}.${idx}`, write, { strategy: idx >= 0 ? "reject" : "last_write_wins" });
        }
        for (const { error } of await batch.sendEach()) {
          if (error && !isError(error, "state.conflict")) throw error;
        }
      }
    } while (!(await this.#blobs.has(agent, serialized)));
  }

  /** Deletes all checkpoints, writes and values of a thread. Their past stays in the history; `erase` is for that. */
  override async deleteThread(threadId: string): Promise<void> {
    const agent = this.#agent(threadId);
    for (let left = true; left; ) {
      left = false;
      const keys: string[] = [];
      for await (const { key } of agent.entries()) keys.push(key);
      keys.sort((a, b) => Number(b.startsWith("hd.")) - Number(a.startsWith("hd."))); // first the heads, so that a put at the same time starts again
      for (let i = 0; i < keys.length; i += 200) {
        left = true;
        const batch = this.client.batch();
        for (const key of keys.slice(i, i + 200)) batch.delete(agent.id, key, {});
        for (const { error } of await batch.sendEach()) {
          if (error && !isError(error, "state.not_found")) throw error;
        }
      }
    }
    for (const name of this.#heads.keys()) if (name.startsWith(agent.id + "hd.")) this.#heads.delete(name);
    this.#blobs.forget(agent);
  }

  #agent(thread: string): Agent {
    return this.client.agent(this.#prefix + token(thread, 56));
  }

  async *#threads(thread: string | undefined): AsyncGenerator<Agent> {
    if (thread !== undefined) {
      yield this.#agent(thread);
      return;
    }
    for await (const { agent_id } of this.client.list<{ agent_id: string }>("agents.list", { prefix: this.#prefix })) yield this.client.agent(agent_id);
  }

  /**
   * The channels that are stored in these versions: by the parent, and for a checkpoint without
   * one, as a copy of a first one is, by any checkpoint of the namespace.
   */
  async #before(agent: Agent, ns: string, parent: string | undefined, versions: ChannelVersions, cached: boolean): Promise<Map<string, Row["channels"][string]>> {
    const stored = new Map<string, Row["channels"][string]>();
    const take = (row: Row) => {
      for (const [name, at] of Object.entries(row.channels)) if (at.version !== undefined && at.version === versions[name]) stored.set(name, at);
    };
    if (parent !== undefined) {
      const row = await agent.find<Row>(rowKey(ns, parent), cached ? {} : { consistency: "strong" });
      if (row) take(row.value);
    } else {
      for await (const { value } of agent.entries<Row>(`cp.${token(ns)}.`)) take(value);
    }
    return stored;
  }

  /**
   * The head. Where there is none it is made, without a checkpoint, before any value is stored:
   * who deletes the thread deletes the heads first, and the put finds another version.
   */
  async #head(agent: Agent, ns: string): Promise<{ id?: string | undefined; version: number }> {
    const known = this.#heads.get(agent.id + headKey(ns));
    if (known) return { id: known.head.id, version: known.version };
    for (;;) {
      const head = await agent.find<Head>(headKey(ns), { consistency: "strong" });
      if (head) return { id: head.value.id, version: head.version };
      try {
        const { version } = await agent.set(headKey(ns), { ns }, { strategy: "last_write_wins", expectedVersion: 0 });
        return { version };
      } catch (error) {
        if (!isError(error, "state.conflict")) throw error; // another program has made it
      }
    }
  }

  async #load(agent: Agent, ref: Ref): Promise<unknown> {
    return this.serde.loadsTyped(...(await this.#blobs.read(agent, ref)));
  }

  /** The tuple of a row; undefined if another program deletes the thread. */
  async #whole(agent: Agent, row: Row): Promise<CheckpointTuple | undefined> {
    try {
      return await this.#tuple(agent, row);
    } catch (error) {
      if (isError(error, "state.not_found") && !(await agent.find(rowKey(row.ns, row.id), { consistency: "strong" }))) return undefined;
      throw error;
    }
  }

  async #tuple(agent: Agent, row: Row): Promise<CheckpointTuple> {
    const [rest, metadata, writes] = await Promise.all([
      this.#load(agent, row.checkpoint), this.#load(agent, row.metadata), this.#writes(agent, row.ns, row.id),
    ]);
    const values = await each(Object.entries(row.channels), async ([name, at]) => [name, await this.#load(agent, at.value)] as const);
    const checkpoint = { ...(rest as Checkpoint), channel_values: Object.fromEntries(values) };
    if (checkpoint.v < 4 && row.parent !== undefined) await this.#pendingSends(agent, checkpoint, row.ns, row.parent);
    const at = (id: string) => ({ configurable: { thread_id: row.thread, checkpoint_ns: row.ns, checkpoint_id: id } });
    return {
      config: at(row.id), checkpoint, metadata: metadata as CheckpointMetadata, pendingWrites: writes,
      ...(row.parent === undefined ? {} : { parentConfig: at(row.parent) }),
    };
  }

  async #writes(agent: Agent, ns: string, id: string): Promise<CheckpointPendingWrite[]> {
    const rows: Write[] = [];
    for await (const { value } of agent.entries<Write>(writesPrefix(ns, id))) rows.push(value);
    rows.sort((a, b) => compareWritesSortKeys(writesSortKey(a.path, a.task, a.idx), writesSortKey(b.path, b.task, b.idx)));
    return each(rows, async (w) => [w.task, w.channel, await this.#load(agent, w.value)] as CheckpointPendingWrite);
  }

  /** Checkpoints before format 4 have the sends of a step as writes of their parent. */
  async #pendingSends(agent: Agent, checkpoint: Checkpoint, ns: string, parent: string): Promise<void> {
    const sends = (await this.#writes(agent, ns, parent)).filter(([, channel]) => channel === TASKS);
    const versions = Object.values(checkpoint.channel_versions ?? {});
    checkpoint.channel_values[TASKS] = sends.map(([, , value]) => value);
    checkpoint.channel_versions = { ...checkpoint.channel_versions, [TASKS]: versions.length > 0 ? maxChannelVersion(...versions) : this.getNextVersion(undefined) };
  }
}

/** undefined is any; "" is the root. */
function namespaceOf(config: RunnableConfig): string | undefined {
  return config.configurable?.["checkpoint_ns"] as string | undefined;
}

function required(config: RunnableConfig, field: string, what: string): string {
  const value = config.configurable?.[field] as string | undefined;
  if (value === undefined) throw new Error(`Failed to ${what}. The passed RunnableConfig is missing a required "${field}" field in its "configurable" property.`);
  return value;
}

const rowKey = (ns: string, id: string) => `cp.${token(ns)}.${token(id, 60)}`;
const headKey = (ns: string) => `hd.${token(ns)}`;
const writesPrefix = (ns: string, id: string) => `wr.${token(ns)}.${token(id, 60)}.`;

const order = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

function matches(metadata: unknown, filter: Record<string, unknown>): boolean {
  return Object.entries(filter).every(([key, value]) => JSON.stringify((metadata as Record<string, unknown>)[key]) === JSON.stringify(value));
}
