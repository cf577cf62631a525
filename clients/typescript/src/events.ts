import { clean, type Client } from "./client.js";
import { isError } from "./errors.js";
import type * as wire from "./wire.js";

/** An event of the journal. */
export interface TidemarkEvent extends wire.Event {
  revision: number;
}

/** Which events to read. */
export interface EventsFrom {
  /** NATS pattern of names below `events.`: `agent.a1.>`; default all. */
  subject?: string;
  /** The first revision, default 1. */
  from?: number;
  /** The last one; default: go on with what comes. */
  until?: number;
  /** Of the journal, where it has several and subject names no id. */
  partition?: number;
  signal?: AbortSignal;
}

const wait = 5000;

export async function* readEvents(client: Client, from: EventsFrom): AsyncGenerator<TidemarkEvent, void, undefined> {
  const { subject, until, partition, signal } = from;
  for (let next = from.from ?? 1; !signal?.aborted && (until === undefined || next <= until); ) {
    const body = clean({ subject, until, partition, from: next, limit: 1000, wait_ms: wait });
    let page: { events: TidemarkEvent[]; next: number };
    try {
      page = await client.send("queries.events.read", body, undefined, wait, signal);
    } catch (error) {
      if (signal?.aborted) return;
      if (isError(error, "unavailable") && !isError(error, "engine.older") && !client.nc.isClosed()) continue; // it has more patience than one call
      throw error;
    }
    for (const event of page.events) {
      if (signal?.aborted) return;
      yield event;
    }
    next = page.next;
  }
}
