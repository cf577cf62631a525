import { clean, type Body, type Client, type CommandOptions, type Receipt } from "./client.js";
import { TidemarkError } from "./errors.js";
import { newId } from "./ids.js";
import type { SetOptions } from "./agent.js";
import type * as wire from "./wire.js";

/** The outcome of one command of a batch. */
export type Result = { receipt: Receipt; error?: undefined } | { receipt?: undefined; error: TidemarkError };

/** Commands that are sent together. */
export class Batch {
  #commands: { subject: string; id: string; body: Body }[] = [];
  #require: Body[] = [];

  /** Use {@link Client.batch}. */
  constructor(private readonly client: Client) {}

  /** Adds any command: `task.t1.create` with its body. */
  command(subject: string, body: Body = {}, options: CommandOptions = {}): this {
    this.#commands.push({ subject, id: options.commandId ?? newId(), body });
    return this;
  }

  /** Adds a write. */
  set(agent: string, key: string, value: unknown, options: Pick<SetOptions, "expectedVersion" | "strategy" | "writer" | "commandId"> = {}): this {
    const writer = options.writer ?? this.client.options.writer;
    return this.command(`agent.${agent}.set`, clean({ key, value, strategy: options.strategy, expected_version: options.expectedVersion, writer }), options);
  }

  /** Adds a deletion. */
  delete(agent: string, key: string, options: Pick<SetOptions, "expectedVersion" | "commandId"> = {}): this {
    return this.command(`agent.${agent}.delete`, clean({ key, expected_version: options.expectedVersion, writer: this.client.options.writer }), options);
  }

  /** Lets the batch take effect only if the entry has this version, 0 = it does not exist. */
  requireEntry(agent: string, key: string, version: number): this {
    this.#require.push({ subject: `agent.${agent}`, key, version });
    return this;
  }

  /** The same for a whole aggregate: `task.t1`, `session.s1`, `claim.c1`. */
  requireVersion(aggregate: string, version: number): this {
    this.#require.push({ subject: aggregate, version });
    return this;
  }

  /** Lets the batch take effect only while owner holds the claim. */
  requireOwner(claim: string, owner: string): this {
    this.#require.push({ subject: `claim.${claim}`, owner });
    return this;
  }

  /** Executes the batch as a whole or not at all. `details.index` of the error names the first command that fails. */
  async send(): Promise<Receipt[]> {
    return (await this.#send(true)).map((r) => {
      if (r.error) throw r.error;
      return r.receipt;
    });
  }

  /** Executes each command by itself; the results are in the order of the commands. */
  sendEach(): Promise<Result[]> {
    return this.#send(false);
  }

  async #send(atomic: boolean): Promise<Result[]> {
    const body = clean({ atomic, commands: this.#commands, require: this.#require.length ? this.#require : undefined });
    const answer = await this.client.send<{ results: { receipt?: Receipt; error?: wire.ErrorBody }[] }>("commands.batch", body);
    return answer.results.map(({ receipt, error }) => {
      if (!receipt) return { error: new TidemarkError(error!.kind, error!.code, error!.status, error!.message, error!.details) };
      this.client.saw(receipt);
      return { receipt };
    });
  }
}
