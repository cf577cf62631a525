import { isError, type Agent, type Client } from "@tidemark/client";

import { hash } from "./names.js";

/** Longest text of one entry, in UTF-16 units: with its escapes it stays below the engine's 256 KiB. */
export const part = 40_000;
/** Longest text that a reference holds itself. */
const inline = 512;
/** Elements of arrays with at least this many characters are stored by themselves. */
const element = 120;
/** Entries that are sent, or read, at once. */
const together = 32;
/** How many characters of parts are kept in memory. */
const kept = 64 << 20;

/**
 * Where a serialized value is: its text itself (`d`), or `n` parts under its hash (`h`). With
 * `list` the text is a JSON array with, for each element of the value, its text or
 * `#<hash>*<n>`. The text of what is not JSON is base64.
 */
export interface Ref {
  t: string;
  d?: string;
  h?: string;
  n?: number;
  list?: true;
}

/**
 * Values of an agent, stored under their content: the same value is stored once, and a list
 * that grows costs its new elements.
 */
export class Blobs {
  /** Parts that are stored, by agent and name. */
  readonly #known = new Map<string, string>();
  #size = 0;

  constructor(private readonly client: Client) {}

  /** Stores serialized values and says where each is. `certain` sends what is known to be stored too. */
  async write(agent: Agent, values: [type: string, data: Uint8Array][], certain = false): Promise<Ref[]> {
    const parts = new Map<string, string>();
    const refs = values.map(([type, data]) => place(type, data, parts));
    const missing = [...parts].filter(([name]) => certain || !this.#known.has(agent.id + name));
    for (let i = 0; i < missing.length; ) {
      const batch = this.client.batch();
      for (let size = 0, count = 0; i < missing.length && count < together && size < 2 * part; i++, count++) {
        const [name, text] = missing[i]!;
        batch.set(agent.id, "bl" + name, text, { strategy: "reject" });
        size += text.length;
      }
      for (const { error } of await batch.sendEach()) {
        if (error && !isError(error, "state.conflict")) throw error; // a conflict: it is there already
      }
    }
    for (const [name, text] of parts) this.#keep(agent.id + name, text);
    return refs;
  }

  /** Says whether the first part of serialized values is stored. A deletion leaves all parts, or none. */
  async has(agent: Agent, values: [type: string, data: Uint8Array][]): Promise<boolean> {
    const parts = new Map<string, string>();
    for (const [type, data] of values) place(type, data, parts);
    const [first] = parts.keys();
    return first === undefined || (await agent.find("bl" + first, { consistency: "strong" })) !== undefined;
  }

  /** Reads a value back. */
  async read(agent: Agent, ref: Ref): Promise<[type: string, data: Uint8Array]> {
    let text = ref.d ?? (await this.#parts(agent, ref.h!, ref.n!));
    if (ref.list) {
      const elements = await each(JSON.parse(text) as string[], (e) => {
        if (e[0] !== "#") return e;
        const [h, n] = e.slice(1).split("*");
        return this.#parts(agent, h!, Number(n));
      });
      text = `[${elements.join(",")}]`;
    }
    return [ref.t, ref.t === "json" ? new TextEncoder().encode(text) : Buffer.from(text, "base64")];
  }

  /** Forgets what is known of an agent: someone else has deleted it. */
  forget(agent: Agent): void {
    for (const [name, text] of this.#known) {
      if (name.startsWith(agent.id + ".")) this.#drop(name, text);
    }
  }

  async #parts(agent: Agent, h: string, n: number): Promise<string> {
    const names = Array.from({ length: n }, (_, i) => `.${h}.${i}`);
    return (await each(names, (name) => this.#part(agent, name))).join("");
  }

  async #part(agent: Agent, name: string): Promise<string> {
    const known = this.#known.get(agent.id + name);
    if (known !== undefined) return known;
    const { value } = await agent.get<string>("bl" + name);
    this.#keep(agent.id + name, value);
    return value;
  }

  #keep(name: string, text: string): void {
    if (this.#known.has(name)) return;
    this.#known.set(name, text);
    this.#size += text.length;
    for (const [oldest, old] of this.#known) {
      if (this.#size <= kept) return;
      this.#drop(oldest, old);
    }
  }

  #drop(name: string, text: string): void {
    this.#known.delete(name);
    this.#size -= text.length;
  }
}

function place(type: string, data: Uint8Array, parts: Map<string, string>): Ref {
  const text = type === "json" ? new TextDecoder().decode(data) : Buffer.from(data).toString("base64");
  if (text.length <= inline) return { t: type, d: text };
  const elements = type === "json" ? arrayElements(text) : undefined;
  if (!elements?.some((e) => e.length >= element)) return { t: type, ...split(text, parts) };
  const list = JSON.stringify(elements.map((e) => {
    if (e.length < element) return e;
    const { h, n } = split(e, parts);
    return `#${h}*${n}`;
  }));
  return list.length <= inline ? { t: type, d: list, list: true } : { t: type, ...split(list, parts), list: true };
}

function split(text: string, parts: Map<string, string>): { h: string; n: number } {
  const h = hash(text), all = pieces(text);
  all.forEach((piece, i) => parts.set(`.${h}.${i}`, piece));
  return { h, n: all.length };
}

/** A text in pieces that each fit into an entry. */
export function pieces(text: string): string[] {
  const all: string[] = [];
  for (let from = 0; from < text.length; from += all.at(-1)!.length) {
    let to = Math.min(from + part, text.length);
    if (to < text.length && /[\uD800-\uDBFF]/.test(text[to - 1]!)) to--; // pairs stay together
    all.push(text.slice(from, to));
  }
  return all;
}

/** The texts of the elements of a JSON array; undefined if the text is none, or would not come back byte for byte. */
function arrayElements(text: string): string[] | undefined {
  if (text[0] !== "[") return undefined;
  const elements = (JSON.parse(text) as unknown[]).map((e) => JSON.stringify(e));
  return `[${elements.join(",")}]` === text ? elements : undefined;
}

/** Maps some at once. */
export async function each<T, R>(of: T[], map: (value: T) => R | Promise<R>): Promise<R[]> {
  const out: R[] = [];
  for (let i = 0; i < of.length; i += together) out.push(...(await Promise.all(of.slice(i, i + together).map(map))));
  return out;
}
