import { Kvm } from "@nats-io/kv";

import { clean, onAbort, type Body, type Client, type CommandOptions, type QueryOptions, type Receipt } from "./client.js";
import { isError } from "./errors.js";
import type * as wire from "./wire.js";

/** One value of an agent. */
export interface Entry<T = unknown> extends Omit<wire.Entry, "value" | "updated_at"> {
  value: T;
  timestamp: string;
  /** Who answered: memory, kv, sql, journal. */
  source?: string;
}

/** One version of an entry. */
export interface Version<T = unknown> extends Omit<wire.EntryVersion, "value" | "updated_at"> {
  value: T;
  timestamp: string;
}

/** A change that a watch has seen. `value` is undefined after a deletion. */
export interface Change<T = unknown> {
  key: string;
  deleted: boolean;
  value?: T;
  version?: number;
  revision?: number;
}

export interface WriteOptions extends CommandOptions {
  /** The command takes effect only at this version of the entry, 0 = it does not exist. */
  expectedVersion?: number;
  writer?: string;
}

export interface SetOptions extends WriteOptions {
  strategy?: "last_write_wins" | "timestamp" | "reject";
  /** Of the strategy timestamp. */
  timestamp?: Date | string;
}

export interface ReadOptions extends QueryOptions {
  consistency?: "cached" | "hot" | "durable" | "strong";
  atRevision?: number;
  atTime?: Date | string;
}

/** A point in the past: a version of one entry, a revision of the agent's partition, or a time. */
export type Point = { version: number } | { revision: number } | { time: Date | string };

/** The state of one agent. */
export class Agent {
  /** Use {@link Client.agent}. */
  constructor(private readonly client: Client, readonly id: string) {}

  /** Reads the value under a key: at least as new as what the client has written and read of this agent. */
  async get<T = unknown>(key: string, options: ReadOptions = {}): Promise<Entry<T>> {
    return { ...(await this.client.read<Entry<T>>(`agent.${this.id}.get`, { key, ...reading(options) }, options)), key };
  }

  /** Is {@link get}, or undefined if there is no such entry. */
  async find<T = unknown>(key: string, options: ReadOptions = {}): Promise<Entry<T> | undefined> {
    try {
      return await this.get<T>(key, options);
    } catch (error) {
      if (isError(error, "state.not_found")) return undefined;
      throw error;
    }
  }

  /** All entries whose keys begin with prefix, in the order of their keys. */
  entries<T = unknown>(prefix = "", options: ReadOptions = {}): AsyncGenerator<Entry<T>, void, undefined> {
    return this.client.pages<Entry<T>>(`agent.${this.id}.entries`, "entries", clean({ prefix: prefix || undefined, ...reading(options) }), true, options);
  }

  /** The versions of an entry, newest first; with `losers` also the writes that lost. */
  history<T = unknown>(key: string, options: { losers?: boolean } & QueryOptions = {}): AsyncGenerator<Version<T>, void, undefined> {
    return this.client.pages<Version<T>>(`agent.${this.id}.history`, "versions", clean({ key, losers: options.losers }), false, options);
  }

  /** Writes a value. */
  set(key: string, value: unknown, options: SetOptions = {}): Promise<Receipt> {
    return this.#write("set", { key, value, strategy: options.strategy, timestamp: when(options.timestamp) }, options);
  }

  /** Deletes an entry. */
  delete(key: string, options: SetOptions = {}): Promise<Receipt> {
    return this.#write("delete", { key, strategy: options.strategy, timestamp: when(options.timestamp) }, options);
  }

  /** Applies a JSON merge patch (RFC 7396) to an object; a missing entry is {}. */
  merge<T = Body>(key: string, patch: Body, options: WriteOptions = {}): Promise<Receipt<T>> {
    return this.#write<T>("merge", { key, value: patch }, options);
  }

  /** Adds a number exactly; a missing entry is 0. */
  add(key: string, delta: number, options: WriteOptions & { min?: number; max?: number } = {}): Promise<Receipt<number>> {
    return this.#write<number>("add", { key, delta, min: options.min, max: options.max }, options);
  }

  /** Appends items to an array; a missing entry is []. */
  append<T = unknown>(key: string, items: T[], options: WriteOptions & { maxItems?: number } = {}): Promise<Receipt<T[]>> {
    return this.#write<T[]>("append", { key, items, max_items: options.maxItems }, options);
  }

  /**
   * Reads an entry, lets change make the new value from the old one (undefined if there is
   * none), and writes it if the entry has not changed meanwhile; otherwise it begins again.
   */
  async update<T>(key: string, change: (value: T | undefined) => T | Promise<T>, options: { writer?: string } = {}): Promise<Receipt> {
    for (let read: ReadOptions = {}; ; read = { consistency: "strong" }) {
      const entry = await this.find<T>(key, read);
      try {
        return await this.set(key, await change(entry?.value), { ...options, expectedVersion: entry?.version ?? 0 });
      } catch (error) {
        if (!isError(error, "state.conflict")) throw error;
      }
    }
  }

  /**
   * Follows the entries whose keys match a NATS pattern: first those that are there, then each
   * change, until `signal`. Only the latest value of a key is sure to come: for every change
   * read {@link Client.events}.
   */
  async *watch<T = unknown>(pattern = ">", options: { signal?: AbortSignal } = {}): AsyncGenerator<Change<T>, void, undefined> {
    const bucket = await new Kvm(this.client.nc).open("AGENT_STATE");
    const changes = await bucket.watch({ key: `${this.id}.${pattern}` });
    const forget = onAbort(options.signal, () => changes.stop());
    try {
      if (options.signal?.aborted) return;
      for await (const change of changes) {
        const key = change.key.slice(this.id.length + 1);
        if (change.operation === "PUT") yield { key, deleted: false, ...change.json<Omit<Change<T>, "key" | "deleted">>() };
        else yield { key, deleted: true };
      }
    } finally {
      forget();
      changes.stop();
    }
  }

  /** Brings one entry (`key`), or every entry, back to a point in the past, as new events. */
  revert(to: Point, options: { key?: string; reason?: string } & CommandOptions = {}): Promise<Receipt> {
    const point = "version" in to ? { to_version: to.version } : "revision" in to ? { to_revision: to.revision } : { to_time: when(to.time) };
    return this.client.command(`agent.${this.id}.revert`, clean({ ...point, key: options.key, reason: options.reason }), options);
  }

  /** Makes the agent `id` from this agent's entries, now or at a point in the past. */
  async fork(id: string, options: Omit<ReadOptions, "consistency"> & { reason?: string } & CommandOptions = {}): Promise<Agent> {
    await this.client.command(`agent.${id}.fork`, clean({ from: this.id, ...reading(options), reason: options.reason }), options);
    return this.client.agent(id);
  }

  /** Says that the agent lives. */
  async heartbeat(): Promise<void> {
    await this.client.command(`agent.${this.id}.heartbeat`);
  }

  #write<V>(verb: string, body: Body, options: WriteOptions): Promise<Receipt<V>> {
    const writer = options.writer ?? this.client.options.writer;
    return this.client.command<V>(`agent.${this.id}.${verb}`, clean({ ...body, expected_version: options.expectedVersion, writer }), options);
  }
}

function reading(o: ReadOptions): Body {
  return clean({ consistency: o.consistency, at_revision: o.atRevision, at_time: when(o.atTime) });
}

function when(time: Date | string | undefined): string | undefined {
  return time instanceof Date ? time.toISOString() : time;
}
