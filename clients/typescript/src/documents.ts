import type { Client } from "./client.js";
import type * as wire from "./wire.js";

export type Session = wire.Session;

export type Message = wire.InboxMessage;

export interface ClaimOptions {
  /** The claim ends by itself unless it is renewed; without it, it is held until it is released. */
  leaseMs?: number;
  data?: unknown;
}

/** A claim that is held: a unique name, a lock or a slot. */
export class Claim {
  constructor(
    private readonly client: Client,
    readonly id: string,
    readonly owner: string,
    /** Rises with each new owner: what the claim guards refuses lower ones. */
    readonly fence: number,
  ) {}

  /** Begins the lease again. Lost: `claim.fenced`. */
  async renew(): Promise<void> {
    await this.client.command(`claim.${this.id}.renew`, { owner: this.owner, fence: this.fence });
  }

  /** Gives the claim up. */
  async release(): Promise<void> {
    await this.client.command(`claim.${this.id}.release`, { owner: this.owner, fence: this.fence });
  }
}

/** When a reminder is due: one of the three. */
export interface Schedule {
  at?: Date | string;
  /** 1000 at least. */
  everyMs?: number;
  /** Five fields. */
  cron?: string;
  /** IANA time zone of cron, default UTC. */
  timezone?: string;
}

export interface Reminder {
  until?: string;
  count?: number;
  missed?: "one" | "all" | "skip";
  agentId?: string;
}
