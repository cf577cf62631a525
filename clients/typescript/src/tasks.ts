import { clean, sleep, type Body, type Client, type CommandOptions, type Receipt } from "./client.js";
import { isError } from "./errors.js";
import { newId } from "./ids.js";
import type * as wire from "./wire.js";

/** A task as a query answers it, or as it is claimed. */
export interface Task<P = unknown, R = unknown> extends Omit<wire.TaskRow, "payload" | "result"> {
  payload?: P;
  result?: R;
}

export interface CreateOptions extends CommandOptions {
  payload?: unknown;
  /** The only agent that may claim it. */
  agentId?: string;
  /** 1 to 10, 10 first. */
  priority?: number;
  deadline?: Date | string;
  retry?: { maxAttempts: number; backoffMs?: number };
}

export interface NextOptions {
  agent: string;
  kind?: string;
  /** Default 30000. */
  leaseMs?: number;
  /** How long to wait for a task, at most 60000. */
  waitMs?: number;
  signal?: AbortSignal;
}

/** A task that is claimed: the right to work on it. */
export class Work<P = unknown> {
  constructor(
    private readonly client: Client,
    readonly task: Task<P>,
    /** Rises with each claim of the task. */
    readonly fence: number,
    readonly agent: string,
  ) {}

  /** Reports progress and begins the lease again. Another holder: `task.fenced`. */
  progress(report: { percent?: number; note?: string } = {}, signal?: AbortSignal): Promise<Receipt> {
    return this.#report("progress", clean(report), signal);
  }

  /** Ends the task with a result. */
  complete(result?: unknown): Promise<Receipt> {
    return this.#report("complete", clean({ result }));
  }

  /** Ends the attempt. reason is one word like an id. */
  fail(reason: string, detail?: string): Promise<Receipt> {
    return this.#report("fail", clean({ reason, detail }));
  }

  #report(verb: string, body: Body, signal?: AbortSignal): Promise<Receipt> {
    return this.client.command(`task.${this.task.task_id}.${verb}`, { ...body, agent_id: this.agent, fence: this.fence }, { signal });
  }
}

/** What a handler throws to name the reason of a failure. */
export class Failure extends Error {
  constructor(readonly reason: string, detail: string) {
    super(detail);
  }
}

export interface WorkerOptions {
  kind?: string;
  agent: string;
  /** Default 30000; renewed while the handler runs. */
  leaseMs?: number;
  /** Handlers at once, default 1. */
  parallel?: number;
  /** Ends the worker after the handlers under way. */
  signal?: AbortSignal;
  /** Is called with the error of a claim, or of the report of a task. Default: console.warn prints it. */
  onError?: (error: unknown) => void;
}

/** Tasks of an engine. */
export class Tasks {
  constructor(private readonly client: Client) {}

  /** Makes a task of a kind. */
  create(id: string, kind: string, options: CreateOptions = {}): Promise<Receipt> {
    const { payload, agentId, priority, deadline, retry } = options;
    return this.client.command(
      `task.${id}.create`,
      clean({
        kind, payload, agent_id: agentId, priority,
        deadline: deadline instanceof Date ? deadline.toISOString() : deadline,
        retry: retry && clean({ max_attempts: retry.maxAttempts, backoff_ms: retry.backoffMs }),
      }),
      options,
    );
  }

  /** Reads a task. */
  get<P = unknown, R = unknown>(id: string): Promise<Task<P, R>> {
    return this.client.read(`task.${id}.get`);
  }

  /** Cancels a task that has not ended. */
  cancel(id: string, reason?: string, options: CommandOptions = {}): Promise<Receipt> {
    return this.client.command(`task.${id}.cancel`, clean({ reason }), options);
  }

  /** All tasks of a filter: `{ status, agent_id, kind, prefix }`. */
  list(filter: Body = {}): AsyncGenerator<Task, void, undefined> {
    return this.client.list<Task>("tasks.list", filter);
  }

  /** Claims the task that is first by priority and age; undefined if there is none within `waitMs`. */
  async next<P = unknown>(options: NextOptions): Promise<Work<P> | undefined> {
    const wait = options.waitMs ?? 0;
    const body = clean({ agent_id: options.agent, kind: options.kind, lease_ms: options.leaseMs ?? 30_000, wait_ms: wait });
    try {
      const answer = await this.client.send<{ task: Task<P>; fence: number; receipt: Receipt }>("commands.tasks.next", body, newId(), wait, options.signal);
      this.client.saw(answer.receipt);
      return new Work<P>(this.client, answer.task, answer.fence, options.agent);
    } catch (error) {
      if (isError(error, "task.none")) return undefined;
      throw error;
    }
  }

  /**
   * Claims tasks until `signal`, runs handler for each and reports what it returns as the
   * result, or what it throws as a failure (see {@link Failure}). It renews the lease while
   * the handler runs; when the task is lost, the handler's signal aborts and nothing is
   * reported.
   */
  async work<P = unknown>(options: WorkerOptions, handler: (task: Task<P>, signal: AbortSignal) => unknown): Promise<void> {
    const onError = options.onError ?? ((error: unknown) => console.warn("a claim or the report of a task failed:", String(error)));
    let fatal: { error: unknown } | undefined; // ends the others too
    const one = async () => {
      while (!options.signal?.aborted && !fatal) {
        try {
          const work = await this.next<P>({ ...options, waitMs: 2000 });
          if (work) await this.#handle(work, { ...options, onError }, handler);
        } catch (error) {
          if (!isError(error, "unavailable") && !isError(error, "overloaded")) fatal ??= { error };
          else onError(error);
        }
      }
    };
    await Promise.all(Array.from({ length: options.parallel ?? 1 }, one));
    if (fatal) throw fatal.error;
  }

  async #handle<P>(work: Work<P>, options: WorkerOptions & Required<Pick<WorkerOptions, "onError">>, handler: (task: Task<P>, signal: AbortSignal) => unknown): Promise<void> {
    const lost = new AbortController(), done = new AbortController();
    const lease = options.leaseMs ?? 30_000;
    const renewing = (async () => {
      for (let last = Date.now(); ; ) {
        await sleep(lease / 3, done.signal);
        if (done.signal.aborted) return;
        const bounded = AbortSignal.any([done.signal, AbortSignal.timeout(lease / 3)]);
        try {
          await work.progress({}, bounded);
          last = Date.now();
        } catch (error) {
          if (["conflict", "rejected", "not_found"].some((kind) => isError(error, kind)) || Date.now() - last > lease) {
            lost.abort(error);
            done.abort();
          }
        }
      }
    })();
    let report: () => Promise<unknown>;
    try {
      const result = await handler(work.task, lost.signal);
      report = () => work.complete(result);
    } catch (error) {
      const reason = error instanceof Failure ? error.reason : "error";
      report = () => work.fail(reason, error instanceof Error ? error.message : String(error));
    }
    done.abort();
    await renewing;
    try {
      if (lost.signal.aborted) throw lost.signal.reason;
      await report();
    } catch (error) {
      options.onError(error);
      const refused = isError(error, "invalid") || isError(error, "too_large") || !isError(error) && !lost.signal.aborted;
      if (refused) { // else the task would be claimed again without end
        await work.fail("error", `the report was refused: ${(error as Error).message}`.slice(0, 1000)).catch((again) => options.onError(again));
      }
    }
  }
}
