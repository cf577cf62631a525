import { setMaxListeners } from "node:events";
import { readFile } from "node:fs/promises";
import { connect as connectNats, credsAuthenticator, headers, type ConnectionOptions, type NatsConnection } from "@nats-io/transport-node";

import { Agent } from "./agent.js";
import { Batch } from "./batch.js";
import { Claim, type ClaimOptions, type Message, type Reminder, type Schedule, type Session } from "./documents.js";
import { TidemarkError, isError, unanswered, type Kind } from "./errors.js";
import { readEvents, type EventsFrom, type TidemarkEvent } from "./events.js";
import { newId } from "./ids.js";
import { Tasks } from "./tasks.js";
import { Tokens } from "./tokens.js";
import type * as wire from "./wire.js";

/** How to reach an engine. */
export interface Options {
  /** NATS servers. */
  servers: string | string[];
  /** A credentials file, as `engine auth add` writes it. */
  creds?: string;
  /** The `--subject-prefix` of the engine. */
  prefix?: string;
  /** Who writes entries, where a write does not name its own writer. */
  writer?: string;
  /** How long, in ms, a call is sent again while its outcome is unknown. Default 30000. */
  patience?: number;
  /** Further options of the NATS client. */
  nats?: ConnectionOptions;
}

/** The answer to a command. */
export interface Receipt<V = unknown> extends Omit<wire.Receipt, "value"> {
  /** What merge, add or append has computed. */
  value?: V;
}

/** What any command may take. */
export interface CommandOptions {
  /** The id of the command instead of a new one, see {@link newId}. */
  commandId?: string;
  /** Ends the wait for an answer: the error is `unavailable`, and the command may take effect. */
  signal?: AbortSignal;
}

/** What any query may take. */
export interface QueryOptions {
  /** Ends the wait for an answer: the error is the signal's reason. */
  signal?: AbortSignal;
}

/** Body of a command or a query. */
export type Body = Record<string, unknown>;

const attemptTimeout = 10_000;

/** A client of an engine. */
export class Client {
  readonly #prefix: string;
  readonly #patience: number;
  readonly #tokens = new Tokens();
  readonly #waiting = new Set<(reason: unknown) => void>();
  #closed = false;
  /** Tasks that wait for work, and work on them. */
  readonly tasks = new Tasks(this);

  /** Use {@link connect}. */
  constructor(
    /** The NATS connection. */
    readonly nc: NatsConnection,
    readonly options: Omit<Options, "servers">,
    private readonly owned: boolean,
  ) {
    this.#prefix = options.prefix ? options.prefix.replace(/\.$/, "") + "." : "";
    this.#patience = options.patience ?? 30_000;
    void this.#follow();
  }

  /** Closes the connection that {@link connect} has made. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.owned) await this.nc.close();
  }

  /** The state of an agent. Nothing is sent. */
  agent(id: string): Agent {
    return new Agent(this, id);
  }

  /**
   * Sends a command: `command("agent.a1.set", {…})`. It is sent again, under the same id,
   * while the outcome is unknown; after the client's patience the error is `unavailable`, and
   * the command may have taken effect or may yet.
   */
  async command<V = unknown>(subject: string, body: Body = {}, options: CommandOptions = {}): Promise<Receipt<V>> {
    const receipt = await this.send<Receipt<V>>("commands." + trimRoot(subject, "commands."), body, options.commandId ?? newId(), 0, options.signal);
    this.saw(receipt);
    return receipt;
  }

  /** Asks a query: `query("agent.a1.history", { key })`. A token in the body is up to the caller. */
  query<T>(subject: string, body: Body = {}, options: QueryOptions = {}): Promise<T> {
    return this.send<T>("queries." + trimRoot(subject, "queries."), body, undefined, 0, options.signal);
  }

  /**
   * Is {@link query} for the queries that take a token: the answer is at least as new as what
   * this client has written and read.
   */
  async read<T>(subject: string, body: Body = {}, options: QueryOptions = {}): Promise<T> {
    const name = trimRoot(subject, "queries.").split(".");
    const several = name.length < 3 || name[0] === "message" || name[0] === "view";
    const aggregate = several ? "" : `${name[0]}.${name[1]}`;
    const token = this.#tokens.reached(aggregate);
    const past = body["at_revision"] !== undefined || body["at_time"] !== undefined;
    const asked = token && !past && body["token"] === undefined ? { ...body, token } : body;
    try {
      const answer = await this.query<T & { token?: string }>(name.join("."), asked, options);
      this.#tokens.saw(aggregate, answer.token);
      return answer;
    } catch (error) {
      if (isError(error, "token.foreign")) this.#tokens.forget(); // said once; later reads are of the new journal
      throw error;
    }
  }

  /** Reads all rows of a list: `for await (const t of client.list<Task>("tasks.list", { status: "failed" }))`. */
  async *list<T>(query: string, body: Body = {}, options: QueryOptions = {}): AsyncGenerator<T, void, undefined> {
    yield* this.pages<T>(query, rowsOf(query), body, true, options);
  }

  /** @internal */
  async *pages<T>(query: string, rows: string, body: Body, tokens: boolean, options: QueryOptions): AsyncGenerator<T, void, undefined> {
    for (let cursor: unknown; ; ) {
      const asked = clean({ ...body, cursor: cursor ?? body["cursor"] });
      const page = await (tokens ? this.read<Body>(query, asked, options) : this.query<Body>(query, asked, options));
      yield* page[rows] as T[];
      cursor = page["cursor"];
      if (cursor === undefined) return;
    }
  }

  /**
   * Reads events, oldest first, from the archive and the journal as one sequence, and goes on
   * with those that come, until `until` or the end of `signal`. A consumer that keeps the
   * revision of the last event it has handled continues with the next one.
   */
  events(from: EventsFrom = {}): AsyncGenerator<TidemarkEvent, void, undefined> {
    return readEvents(this, from);
  }

  /** Begins a batch of up to 500 commands. */
  batch(): Batch {
    return new Batch(this);
  }

  /** Takes a claim for owner; without `leaseMs` until it is released. Held by another owner: `claim.held`. */
  async acquire(id: string, owner: string, options: ClaimOptions & CommandOptions = {}): Promise<Claim> {
    const body = clean({ owner, lease_ms: options.leaseMs, data: options.data });
    const receipt = await this.command(`claim.${id}.acquire`, body, options);
    return new Claim(this, id, owner, receipt.version);
  }

  /** Lets the engine send a command at each due time, also when this program has ended. */
  remind(id: string, when: Schedule, command: { subject: string; body?: Body }, options: Reminder & CommandOptions = {}): Promise<Receipt> {
    const { commandId, signal, agentId, ...more } = options;
    const at = when.at instanceof Date ? when.at.toISOString() : when.at;
    return this.command(
      `reminder.${id}.set`,
      clean({ at, every_ms: when.everyMs, cron: when.cron, timezone: when.timezone, command, agent_id: agentId, ...more }),
      { commandId, signal },
    );
  }

  /** Ends a reminder. */
  cancelReminder(id: string, options: CommandOptions = {}): Promise<Receipt> {
    return this.command(`reminder.${id}.cancel`, {}, options);
  }

  /** Sends a message from one agent to another. */
  async sendMessage(from: string, to: string, body: unknown, options: CommandOptions = {}): Promise<void> {
    await this.command(`message.${from}.direct`, { to, body }, options);
  }

  /** Sends a message from one agent to all. */
  async broadcast(from: string, body: unknown, options: CommandOptions = {}): Promise<void> {
    await this.command(`message.${from}.broadcast`, { body }, options);
  }

  /** Messages to an agent, newest first, broadcasts included. */
  inbox(agent: string, filter: Body = {}): AsyncGenerator<Message, void, undefined> {
    return this.list<Message>(`message.${agent}.inbox`, filter);
  }

  /** Opens a session for its owner. It expires `ttl` seconds after the last write or touch. */
  openSession(id: string, owner: string, options: { ttl?: number } & CommandOptions = {}): Promise<Receipt> {
    return this.command(`session.${id}.open`, clean({ owner, ttl: options.ttl }), options);
  }

  /** Sets a value of an open session. */
  putSession(id: string, key: string, value: unknown, options: CommandOptions = {}): Promise<Receipt> {
    return this.command(`session.${id}.put`, { key, value }, options);
  }

  /** Keeps a session open for its time to live. */
  touchSession(id: string): Promise<Receipt> {
    return this.command(`session.${id}.touch`);
  }

  /** Ends a session. */
  closeSession(id: string): Promise<Receipt> {
    return this.command(`session.${id}.close`);
  }

  /** Reads a session. */
  getSession(id: string): Promise<Session> {
    return this.read<Session>(`session.${id}.get`);
  }

  /** Sets a configuration value of an agent. */
  setConfig(agent: string, key: string, value: unknown, options: { expectedVersion?: number } & CommandOptions = {}): Promise<Receipt> {
    return this.command(`config.${agent}.set`, clean({ key, value, expected_version: options.expectedVersion }), options);
  }

  /** Reads a configuration value of an agent. */
  getConfig<T = unknown>(agent: string, key: string): Promise<{ value: T; version: number }> {
    return this.read(`config.${agent}.get`, { key });
  }

  /** One row of a declared view; of a grouped one, key is the key of the group. */
  async viewRow<T = Body>(view: string, key: string): Promise<T> {
    return (await this.read<{ row: T }>(`view.${view}.get`, { key })).row;
  }

  /** @internal */
  saw(receipt: Receipt): void {
    this.#tokens.saw(`${receipt.aggregate}.${receipt.id}`, receipt.token);
  }

  /** Ends the attempts under way when the connection is made again: their answers may have gone with the one before. */
  async #follow(): Promise<void> {
    for await (const { type } of this.nc.status()) {
      if (type === "reconnect") for (const end of [...this.#waiting]) end(new Error("the connection broke"));
    }
  }

  /**
   * @internal Requests until there is an answer that is final. `wait` is how long the engine
   * may take besides. `signal` ends it; a claim of a task under way first gets its answer,
   * because the task would have no worker.
   */
  async send<T>(subject: string, body: Body, id?: string, wait = 0, signal?: AbortSignal): Promise<T> {
    const payload = JSON.stringify(body);
    const deadline = Date.now() + this.#patience + wait;
    for (let pause = 50; ; pause = Math.min(2 * pause, 2000)) {
      try {
        return await this.#attempt<T>(subject, payload, id, Math.min(attemptTimeout + wait, Math.max(deadline - Date.now(), 1)), subject.endsWith(".next") ? undefined : signal);
      } catch (error) {
        if (!id && signal?.aborted) throw signal.reason;
        const again = (isError(error, "unavailable") || isError(error, "overloaded")) && !error.code.endsWith(".off"); // off: the engine runs without it
        const after = again ? Math.max(Number(error.details["retry_after_ms"] ?? 0), pause * (0.5 + Math.random() / 2)) : 0;
        if (!again || this.#closed || signal?.aborted || Date.now() + after >= deadline) throw error;
        await sleep(after, signal);
      }
    }
  }

  /** Settles like request, or ends early: with signal, or with the connection. */
  #answer<T>(request: Promise<T>, signal?: AbortSignal): Promise<T> {
    let forget = () => {};
    return new Promise<T>((resolve, reject) => {
      this.#waiting.add(reject);
      const abort = onAbort(signal, () => reject(new Error("the call was aborted")));
      forget = () => {
        this.#waiting.delete(reject);
        abort();
      };
      request.then(resolve, reject);
    }).finally(() => forget());
  }

  async #attempt<T>(subject: string, payload: string, id: string | undefined, timeout: number, signal?: AbortSignal): Promise<T> {
    const h = headers();
    if (id) h.set("Nats-Msg-Id", id);
    let reply;
    try {
      reply = await this.#answer(this.nc.request(this.#prefix + subject, payload, { timeout, headers: h }), signal);
    } catch (error) {
      const { name, message } = error as Error;
      if (name === "ClosedConnectionError") throw error;
      if (/max_payload/i.test(message)) throw new TidemarkError("too_large", "body.too_large", 413, "the body is over the limit of the NATS server");
      if (name === "InvalidArgumentError" || name === "InvalidSubjectError") throw new TidemarkError("invalid", "id.invalid", 400, `${subject}: ${message}`);
      throw unanswered(`${subject} was not answered: ${message}`);
    }
    if (!reply.headers?.get("Nats-Service-Error")) return reply.json<T>();
    let of: { kind: Kind; code: string; status: number; message: string; details?: Body };
    try {
      of = reply.json<{ error: typeof of }>().error;
    } catch {
      throw new TidemarkError("internal", "answer.invalid", 500, "the answer is no error that is known");
    }
    throw new TidemarkError(of.kind, of.code, of.status, of.message, of.details);
  }
}

/** Runs f when signal aborts, at once if it has. Returns what forgets f. */
export function onAbort(signal: AbortSignal | undefined, f: () => void): () => void {
  if (!signal) return () => {};
  setMaxListeners(0, signal); // one signal may end any number of calls
  signal.addEventListener("abort", f);
  if (signal.aborted) f();
  return () => signal.removeEventListener("abort", f);
}

/** Connects to an engine. The connection is made again whenever it breaks, until `close`. */
export async function connect(options: Options): Promise<Client> {
  const auth = options.creds ? { authenticator: credsAuthenticator(await readFile(options.creds)) } : {};
  const nc = await connectNats({
    name: "tidemark-js", servers: options.servers, maxReconnectAttempts: -1, reconnectTimeWait: 200, pingInterval: 5000,
    ...auth, ...options.nats,
  }).catch((error: Error) => {
    const servers = [options.servers ?? "127.0.0.1:4222"].flat().join(",").replace(/(^|,)(\w+:\/\/)?[^,]*@/g, "$1$2");
    error.message = `connect to NATS at ${servers}: ${error.message}`;
    throw error;
  });
  return new Client(nc, options, true);
}

/** The member of a query's answers that holds the rows. */
function rowsOf(query: string): string {
  if (query === "state.find") return "entries";
  if (query.endsWith(".inbox")) return "messages";
  if (query.startsWith("view.")) return "rows";
  return query.split(".")[0]!;
}

function trimRoot(subject: string, root: string): string {
  return subject.startsWith(root) ? subject.slice(root.length) : subject;
}

/** Leaves out what is undefined. */
export function clean(body: Body): Body {
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined));
}

export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  let forget = () => {}, timer: NodeJS.Timeout | undefined;
  return new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
    forget = onAbort(signal, resolve);
  }).finally(() => {
    clearTimeout(timer);
    forget();
  });
}
