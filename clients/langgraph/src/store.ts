import {
  BaseStore, InvalidNamespaceError, validateNamespace,
  type GetOperation, type Item, type ListNamespacesOperation, type MatchCondition, type Operation, type OperationResults, type PutOperation, type SearchItem, type SearchOperation,
} from "@langchain/langgraph-checkpoint";
import { connect, isError, newId, type Agent, type Client, type Options } from "@tidemark/client";

import { each, part, pieces } from "./blobs.js";
import { token } from "./names.js";

/** How to reach an engine, and a namespace that keeps several stores apart on it. */
export interface StoreOptions extends Options {
  /** Default "default". */
  namespace?: string;
}

/** An item as it is stored: with its value, or with the number of parts that have its text. */
interface Row {
  ns: string[];
  key: string;
  value?: Record<string, unknown>;
  parts?: Parts;
  created: string;
  updated: string;
}

/** The parts of a value's text. */
interface Parts {
  id: string;
  n: number;
}

/** Kinds of errors after which nothing was written. Of others it is not known. */
const refusals = ["invalid", "forbidden", "not_found", "conflict", "too_large", "rejected", "overloaded"] as const;

/** Longest key of an entry, in bytes. */
const longestKey = 255;

/**
 * The long-term memory of LangGraph in Tidemark: one agent for each store, one entry for each
 * item. A search filters by fields; a natural-language query ranks nothing, because the store
 * has no embeddings.
 */
export class TidemarkStore extends BaseStore {
  readonly #agent: Agent;

  /** Use {@link TidemarkStore.connect}, or give a client, which `close` closes. */
  constructor(private readonly client: Client, options: Pick<StoreOptions, "namespace"> = {}) {
    super();
    this.#agent = client.agent(`lgstore_${token(options.namespace ?? "default")}`);
  }

  /** Connects to an engine. */
  static async connect(options: StoreOptions): Promise<TidemarkStore> {
    return new TidemarkStore(await connect({ writer: "langgraph", ...options }), options);
  }

  /** Ends the connection. */
  close(): Promise<void> {
    return this.client.close();
  }

  override stop(): Promise<void> {
    return this.close();
  }

  /** Reads see what was before the puts of the same batch; of several puts of an item the last one counts. */
  override async batch<Op extends Operation[]>(operations: Op): Promise<OperationResults<Op>> {
    const puts = new Map<string, PutOperation>();
    for (const op of operations) if (isPut(op)) puts.set(keyOf(op.namespace, op.key), op);
    const results = await each(operations as Operation[], async (op): Promise<unknown> => {
      if (isPut(op)) return undefined;
      if ("namespacePrefix" in op) return this.#search(op);
      if ("key" in op) return this.#get(op);
      return this.#namespaces(op);
    });
    await each([...puts], ([key, op]) => this.#put(key, op));
    return results as OperationResults<Op>;
  }

  async #get(op: GetOperation): Promise<Item | null> {
    for (let tries = 0; tries < 3; tries++) { // another program may replace it
      const row = await this.#agent.find<Row>(keyOf(op.namespace, op.key), { consistency: tries ? "strong" : "cached" });
      if (!row) return null;
      const item = await this.#item(row.value);
      if (item) return item;
    }
    throw new Error(`The item ${JSON.stringify(op.key)} of ${JSON.stringify(op.namespace)} lacks a part of its value.`);
  }

  /** A value that the engine does not take as JSON (deep, or with lone surrogates) becomes text in parts, like a long one. */
  async #put(key: string, op: PutOperation): Promise<void> {
    const now = new Date().toISOString(), text = JSON.stringify(op.value);
    let parts: Parts | undefined;
    try {
      if (text.length > part) await this.#split(key, text, (parts = partsOf(text)));
      for (let consistency: "cached" | "strong" = "cached"; ; ) {
        const before = await this.#agent.find<Row>(key, { consistency });
        try {
          if (op.value !== null) {
            const row: Row = { ns: op.namespace, key: op.key, ...(parts ? { parts } : { value: op.value }), created: before?.value.created ?? now, updated: now };
            await this.#agent.set(key, row, { expectedVersion: before?.version ?? 0, strategy: "last_write_wins" });
          } else if (before) {
            await this.#agent.delete(key, { expectedVersion: before.version });
          }
          parts = undefined; // the item has them
          if (before?.value.parts) await this.#drop(key, before.value.parts);
          return;
        } catch (error) {
          const untaken = op.value !== null && !parts && (isError(error, "invalid") || isError(error, "too_large"));
          if (untaken) await this.#split(key, text, (parts = partsOf(text)));
          else if (!isError(error, "state.conflict")) throw error;
          consistency = "strong";
        }
      }
    } catch (error) {
      if (parts && refusals.some((kind) => isError(error, kind))) await this.#drop(key, parts).catch(() => undefined); // nothing refers to them
      throw error;
    }
  }

  async #split(key: string, text: string, { id }: Parts): Promise<void> {
    await each(pieces(text).map((t, i) => [t, i] as const), ([t, i]) => this.#agent.set(`pt.${token(key)}.${id}.${i}`, t));
  }

  async #drop(key: string, parts: Parts): Promise<void> {
    await each(Array.from({ length: parts.n }, (_, i) => i), async (i) => {
      await this.#agent.delete(`pt.${token(key)}.${parts.id}.${i}`).catch((error) => {
        if (!isError(error, "state.not_found")) throw error; // another program has deleted it
      });
    });
  }

  /** An item with its value; undefined if another program has replaced it meanwhile. */
  async #item(row: Row): Promise<Item | undefined> {
    let value = row.value;
    if (row.parts) {
      const { id, n } = row.parts, key = keyOf(row.ns, row.key);
      const texts = await each(Array.from({ length: n }, (_, i) => i), async (i) => (await this.#agent.find<string>(`pt.${token(key)}.${id}.${i}`))?.value);
      if (texts.includes(undefined)) return undefined;
      value = JSON.parse(texts.join("")) as Record<string, unknown>;
    }
    return { namespace: row.ns, key: row.key, value: value!, createdAt: new Date(row.created), updatedAt: new Date(row.updated) };
  }

  async #search(op: SearchOperation): Promise<SearchItem[]> {
    validateNamespace(op.namespacePrefix, { allowEmpty: true, allowReservedRoot: true });
    const found: SearchItem[] = [];
    let skip = op.offset ?? 0;
    const limit = op.limit ?? 10;
    if (limit <= 0) return found;
    for await (const { value: row } of this.#agent.entries<Row>(prefixOf(op.namespacePrefix))) {
      if (!op.namespacePrefix.every((label, i) => row.ns[i] === label)) continue;
      const item = await this.#item(row);
      if (!item || op.filter && !Object.entries(op.filter).every(([field, wanted]) => compare(item.value[field], wanted))) continue;
      if (skip-- > 0) continue;
      found.push({ ...item, score: undefined });
      if (found.length === limit) break;
    }
    return found;
  }

  async #namespaces(op: ListNamespacesOperation): Promise<string[][]> {
    const all = new Map<string, string[]>();
    for await (const { value: row } of this.#agent.entries<Row>("it.")) {
      if (!(op.matchConditions ?? []).every((condition) => matches(condition, row.ns))) continue;
      const ns = op.maxDepth === undefined ? row.ns : row.ns.slice(0, op.maxDepth);
      all.set(JSON.stringify(ns), ns);
    }
    const sorted = [...all.values()].sort((a, b) => a.join("\0").localeCompare(b.join("\0")));
    return sorted.slice(op.offset ?? 0, (op.offset ?? 0) + (op.limit ?? sorted.length));
  }
}

function partsOf(text: string): Parts {
  return { id: newId(), n: pieces(text).length };
}

function isPut(op: Operation): op is PutOperation {
  return "value" in op;
}

function prefixOf(namespace: string[]): string {
  return ["it", ...namespace.map((label) => token(label, 20))].join(".") + ".";
}

function keyOf(namespace: string[], key: string): string {
  validateNamespace(namespace, { allowReservedRoot: true });
  const name = `${prefixOf(namespace)}k=${token(key)}`;
  if (name.length > longestKey) throw new InvalidNamespaceError(`The namespace ${JSON.stringify(namespace)} has too many labels: at most about 10 are possible.`);
  return name;
}

function matches({ matchType, path }: MatchCondition, ns: string[]): boolean {
  const from = matchType === "prefix" ? 0 : ns.length - path.length;
  return path.length <= ns.length && path.every((label, i) => label === "*" || label === ns[from + i]);
}

/** Compares a field with a wanted value, or with an object of operators. */
function compare(value: unknown, wanted: unknown): boolean {
  const operators = wanted !== null && typeof wanted === "object" && !Array.isArray(wanted) ? Object.entries(wanted) : [];
  if (operators.length === 0 || !operators.every(([name]) => name in operations)) return same(value, wanted);
  return operators.every(([name, operand]) => operations[name]!(value, operand));
}

const operations: Record<string, (value: unknown, operand: unknown) => boolean> = {
  $eq: same,
  $ne: (value, operand) => !same(value, operand),
  $gt: (value, operand) => Number(value) > Number(operand),
  $gte: (value, operand) => Number(value) >= Number(operand),
  $lt: (value, operand) => Number(value) < Number(operand),
  $lte: (value, operand) => Number(value) <= Number(operand),
  $in: (value, operand) => Array.isArray(operand) && operand.some((o) => same(value, o)),
  $nin: (value, operand) => !Array.isArray(operand) || !operand.some((o) => same(value, o)),
};

function same(a: unknown, b: unknown): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}
