// Generated from docs/reference/schemas by npm run types. Do not edit.

/**
 * An agent in a list.
 */
export interface Agent {
  /**
   * The agent.
   */
  agent_id: string;
  /**
   * State entries.
   */
  entries: number;
  /**
   * The phase of its lifecycle.
   */
  phase: "cold" | "hydrating" | "active" | "flushing" | "expired";
  /**
   * Sequence of its last event.
   */
  revision: number;
  /**
   * When the phase began.
   */
  since?: string;
  /**
   * When it was recorded.
   */
  updated_at: string;
}
/**
 * A message on messages.>.
 */
export interface AgentMessage {
  /**
   * As it was sent.
   */
  body: unknown;
  /**
   * The sender.
   */
  from: string;
  /**
   * What it is.
   */
  kind: "direct" | "broadcast" | "notification";
  /**
   * Its command id.
   */
  message_id: string;
  /**
   * When the engine took it.
   */
  sent_at: string;
  /**
   * The recipient of a direct message.
   */
  to?: string;
  /**
   * Of a notification.
   */
  type?: string;
}
/**
 * What a revert of all entries has done.
 */
export interface AgentReversion {
  /**
   * Events of the same append after this one.
   */
  follows?: number;
  /**
   * Entries that it has changed, once it is done.
   */
  keys?: number;
  /**
   * As the revert asked.
   */
  to_revision?: number;
  /**
   * As the revert asked.
   */
  to_time?: string;
  /**
   * As the revert asked.
   */
  to_version?: number;
}
/**
 * A page of agents.
 */
export interface AgentsAnswer {
  /**
   * Age of a cached answer, in ms.
   */
  age_ms?: number;
  /**
   * In the order of their ids.
   */
  agents: Agent[];
  /**
   * Where the next page begins; without it this is the last page.
   */
  cursor?: string;
  /**
   * Quarantined aggregates that the page may lack.
   */
  quarantined?: string[];
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * Read position of the answer.
   */
  token?: string;
}
/**
 * The background comparison of the tiers.
 */
export interface AuditStatus {
  /**
   * When it was found.
   */
  at?: string;
  /**
   * Aggregates since the start.
   */
  checked: number;
  /**
   * Differences that persist.
   */
  differences: number;
  /**
   * The last one.
   */
  last_difference?: string;
  /**
   * Why.
   */
  reason?: string;
  /**
   * running, standby or waiting.
   */
  state: string;
  /**
   * When the last of them was compared.
   */
  verified_at?: string;
}
/**
 * The results of a batch, in the order of its commands.
 */
export interface BatchAnswer {
  /**
   * One for each command.
   */
  results: BatchResult[];
}
/**
 * A receipt or an error.
 */
export interface BatchResult {
  /**
   * Of a command that was refused.
   */
  error?: ErrorBody;
  /**
   * Of a command that was not refused.
   */
  receipt?: Receipt;
}
/**
 * What is wrong, for people and programs.
 */
export interface ErrorBody {
  /**
   * Stable, dotted, for programs.
   */
  code: string;
  /**
   * Facts, by code.
   */
  details?: {
    [k: string]: unknown;
  };
  /**
   * What the caller can do about it.
   */
  kind: "invalid" | "forbidden" | "not_found" | "conflict" | "too_large" | "rejected" | "overloaded" | "unavailable" | "internal";
  /**
   * For people; names the cause and the place.
   */
  message: string;
  /**
   * The kind as a number, as in HTTP.
   */
  status: number;
}
/**
 * The answer to a command.
 */
export interface Receipt {
  /**
   * agent, task, session, config, claim, message, reminder or view.
   */
  aggregate: string;
  /**
   * The command.
   */
  command_id: string;
  /**
   * What an erasure has done.
   */
  erasure?: ErasureReceipt;
  /**
   * Of the aggregate.
   */
  id: string;
  /**
   * Of a state or configuration entry.
   */
  key?: string;
  /**
   * Entries that a revert of an agent has changed.
   */
  keys?: number;
  /**
   * It took effect; it lost by its timestamp; there was nothing to do.
   */
  outcome: "accepted" | "superseded" | "unchanged";
  /**
   * An earlier delivery of the command had taken effect.
   */
  replayed: boolean;
  /**
   * Sequence in the journal partition.
   */
  revision: number;
  /**
   * Read position; of a heartbeat that of the last command that the engine has acknowledged.
   */
  token: string;
  /**
   * What merge, add or append has computed.
   */
  value?: unknown;
  /**
   * Changes of the aggregate, from 1; never restarts.
   */
  version: number;
}
/**
 * What an erasure has done.
 */
export interface ErasureReceipt {
  /**
   * Claims that it held.
   */
  claims: number;
  /**
   * Nothing is left in read models, feeds and SQL; false: ask again with the same command id.
   */
  complete: boolean;
  /**
   * Configuration entries.
   */
  config: number;
  /**
   * Keys that were destroyed.
   */
  data_keys: number;
  /**
   * State entries.
   */
  entries: number;
  /**
   * Reminders whose commands went to it.
   */
  reminders: number;
  /**
   * Sessions that it owned.
   */
  sessions: number;
  /**
   * Tasks that belonged to the agent.
   */
  tasks: number;
}
/**
 * A command of a batch.
 */
export interface BatchCommand {
  /**
   * Its body.
   */
  body?: {
    [k: string]: unknown;
  };
  /**
   * Its command id; missing or empty: the engine makes one, from the id of the batch if it has one.
   */
  id?: string;
  /**
   * <aggregate>.<id>.<verb>, with or without commands. before it.
   */
  subject: string;
}
/**
 * A change that SQL has committed, on agents.state.<agent>.
 */
export interface ChangeNotification {
  /**
   * The agent.
   */
  agent_id: string;
  /**
   * After; null = there is none.
   */
  new_value: unknown;
  /**
   * Before; null = there was none.
   */
  old_value: unknown;
  /**
   * What the row did.
   */
  operation: "INSERT" | "UPDATE" | "DELETE";
  /**
   * Of the event.
   */
  revision: number;
  /**
   * The entry.
   */
  state_key: string;
  /**
   * The writer's time.
   */
  timestamp: string;
}
/**
 * A claim.
 */
export interface Claim {
  /**
   * When the owner acquired it.
   */
  acquired_at?: string;
  /**
   * The claim.
   */
  claim_id: string;
  /**
   * What the owner has noted.
   */
  data?: unknown;
  /**
   * Digest of the last event.
   */
  digest: string;
  /**
   * When it was released or ran out.
   */
  ended_at?: string;
  /**
   * When the lease ends; missing: it has none.
   */
  expires_at?: string;
  /**
   * Version of the event with which the owner acquired it.
   */
  fence: number;
  /**
   * Length of the lease, in ms; missing: held until it is released.
   */
  lease_ms?: number;
  /**
   * Who holds it, or held it last.
   */
  owner: string;
  /**
   * When the lease began.
   */
  renewed_at?: string;
  /**
   * Sequence of the last event in its journal partition.
   */
  revision: number;
  /**
   * Where it is.
   */
  status: "held" | "released" | "expired";
  /**
   * When the last event was recorded.
   */
  updated_at: string;
  /**
   * Changes of the aggregate, from 1.
   */
  version: number;
}
/**
 * Data of claim.acquired.
 */
export interface ClaimAcquired {
  /**
   * What the owner has noted.
   */
  data?: unknown;
  /**
   * Version of this event.
   */
  fence: number;
  /**
   * Length of the lease, in ms; missing: until it is released.
   */
  lease_ms?: number;
  /**
   * Who holds it.
   */
  owner: string;
  /**
   * Fingerprint of the command's verb and body.
   */
  request: string;
}
/**
 * A claim.
 */
export interface ClaimAnswer {
  /**
   * When the owner acquired it.
   */
  acquired_at?: string;
  /**
   * The claim.
   */
  claim_id: string;
  /**
   * What the owner has noted.
   */
  data?: unknown;
  /**
   * Digest of the last event.
   */
  digest: string;
  /**
   * When it was released or ran out.
   */
  ended_at?: string;
  /**
   * When the lease ends; missing: it has none.
   */
  expires_at?: string;
  /**
   * Version of the event with which the owner acquired it.
   */
  fence: number;
  /**
   * Length of the lease, in ms; missing: held until it is released.
   */
  lease_ms?: number;
  /**
   * Who holds it, or held it last.
   */
  owner: string;
  /**
   * When the lease began.
   */
  renewed_at?: string;
  /**
   * Sequence of the last event in its journal partition.
   */
  revision: number;
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * Where it is.
   */
  status: "held" | "released" | "expired";
  /**
   * Read position of the answer.
   */
  token?: string;
  /**
   * When the last event was recorded.
   */
  updated_at: string;
  /**
   * Changes of the aggregate, from 1.
   */
  version: number;
}
/**
 * Data of claim.released and claim.expired.
 */
export interface ClaimEnded {
  /**
   * Fingerprint of the command's verb and body.
   */
  request: string;
  /**
   * The owner whose command has found the lease run out.
   */
  taken_by?: string;
}
/**
 * Data of claim.renewed.
 */
export interface ClaimRenewed {
  /**
   * Missing: as before.
   */
  data?: unknown;
  /**
   * The new lease, in ms; missing: until it is released.
   */
  lease_ms?: number;
  /**
   * Fingerprint of the command's verb and body.
   */
  request: string;
}
/**
 * The state of a claim.
 */
export interface ClaimState {
  /**
   * When the owner acquired it.
   */
  acquired_at?: string;
  /**
   * What the owner has noted.
   */
  data?: unknown;
  /**
   * When it was released or ran out.
   */
  ended_at?: string;
  /**
   * When the lease ends; missing: it has none.
   */
  expires_at?: string;
  /**
   * Version of the event with which the owner acquired it.
   */
  fence: number;
  /**
   * Length of the lease, in ms; missing: held until it is released.
   */
  lease_ms?: number;
  /**
   * Who holds it, or held it last.
   */
  owner: string;
  /**
   * When the lease began.
   */
  renewed_at?: string;
  /**
   * Where it is.
   */
  status: "held" | "released" | "expired";
}
/**
 * A state of a claim.
 */
export interface ClaimVersion {
  /**
   * The authenticated sender.
   */
  actor?: string;
  /**
   * The command that caused it.
   */
  command_id: string;
  /**
   * Digest of the event.
   */
  digest: string;
  /**
   * The content was erased.
   */
  erased?: boolean;
  /**
   * When the event was recorded.
   */
  recorded_at: string;
  /**
   * Sequence in the journal partition.
   */
  revision: number;
  /**
   * After the event.
   */
  state?: ClaimState;
  /**
   * The writer's time.
   */
  timestamp: string;
  /**
   * Type of the event.
   */
  type: string;
  /**
   * Version of the aggregate.
   */
  version: number;
  /**
   * As the command named it.
   */
  writer: string;
}
/**
 * A page of the history of a claim.
 */
export interface ClaimVersionsAnswer {
  /**
   * Age of a cached answer, in ms.
   */
  age_ms?: number;
  /**
   * The claim.
   */
  claim_id: string;
  /**
   * Where the next page begins; without it this is the last page.
   */
  cursor?: string;
  /**
   * Quarantined aggregates that the page may lack.
   */
  quarantined?: string[];
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * Read position of the answer.
   */
  token?: string;
  /**
   * Newest first.
   */
  versions: ClaimVersion[];
}
/**
 * A task and the right to work on it.
 */
export interface ClaimedTask {
  /**
   * Give it with progress, complete and fail.
   */
  fence: number;
  /**
   * Of the claim.
   */
  receipt: Receipt;
  /**
   * The task.
   */
  task: TaskRow;
}
/**
 * A task without digest and time.
 */
export interface TaskRow {
  /**
   * The agent that it is for; once started, the one that works on it.
   */
  agent_id?: string;
  /**
   * Of a started task: the agent that it was created for.
   */
  assigned_to?: string;
  /**
   * Starts.
   */
  attempts: number;
  /**
   * Command id of the last start, if it was a claim.
   */
  claim_id?: string;
  /**
   * When it was created.
   */
  created_at?: string;
  /**
   * When it ends by itself.
   */
  deadline?: string;
  /**
   * Free text for reason.
   */
  detail?: string;
  /**
   * While it waits after a failure: the agent whose attempt failed.
   */
  failed_by?: string;
  /**
   * While it waits after a failure: a digest of its reason and detail.
   */
  failure?: string;
  /**
   * Version of the last start.
   */
  fence?: number;
  /**
   * When it ended.
   */
  finished_at?: string;
  /**
   * What kind of work it is.
   */
  kind: string;
  /**
   * When the lease ends without progress.
   */
  lease_expires_at?: string;
  /**
   * Length of the lease, in ms.
   */
  lease_ms?: number;
  /**
   * No claim before.
   */
  not_before?: string;
  /**
   * What is being done.
   */
  note?: string;
  /**
   * What the worker needs.
   */
  payload?: unknown;
  /**
   * How much is done.
   */
  percent?: number;
  /**
   * 10 first.
   */
  priority?: number;
  /**
   * Of a failed, cancelled or repeated task.
   */
  reason?: string;
  /**
   * Of a completed task.
   */
  result?: unknown;
  /**
   * Repetition after a failure.
   */
  retry?: Retry;
  /**
   * Sequence of the last event.
   */
  revision: number;
  /**
   * When the last attempt began.
   */
  started_at?: string;
  /**
   * Where it is.
   */
  status: "created" | "started" | "completed" | "failed" | "cancelled";
  /**
   * The task.
   */
  task_id: string;
  /**
   * Changes of the task, from 1.
   */
  version: number;
}
/**
 * How often and how soon a task is tried again.
 */
export interface Retry {
  /**
   * From a failure to the next claim, in ms; default 0.
   */
  backoff_ms?: number;
  /**
   * Starts.
   */
  max_attempts: number;
}
/**
 * A page of claims.
 */
export interface ClaimsAnswer {
  /**
   * Age of a cached answer, in ms.
   */
  age_ms?: number;
  /**
   * In the order of their ids.
   */
  claims: Claim[];
  /**
   * Where the next page begins; without it this is the last page.
   */
  cursor?: string;
  /**
   * Quarantined aggregates that the page may lack.
   */
  quarantined?: string[];
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * Read position of the answer.
   */
  token?: string;
}
/**
 * A version of a configuration entry.
 */
export interface ConfigVersion {
  /**
   * The authenticated sender.
   */
  actor?: string;
  /**
   * The command that caused it.
   */
  command_id: string;
  /**
   * Digest of the event.
   */
  digest: string;
  /**
   * The content was erased.
   */
  erased?: boolean;
  /**
   * When the event was recorded.
   */
  recorded_at: string;
  /**
   * Sequence in the journal partition.
   */
  revision: number;
  /**
   * The writer's time.
   */
  timestamp: string;
  /**
   * Type of the event.
   */
  type: string;
  /**
   * As it was sent; missing in a removal.
   */
  value?: unknown;
  /**
   * Version of the aggregate.
   */
  version: number;
  /**
   * As the command named it.
   */
  writer: string;
}
/**
 * A page of the versions of a configuration entry.
 */
export interface ConfigVersionsAnswer {
  /**
   * Age of a cached answer, in ms.
   */
  age_ms?: number;
  /**
   * The agent.
   */
  agent_id: string;
  /**
   * Where the next page begins; without it this is the last page.
   */
  cursor?: string;
  /**
   * The entry.
   */
  key: string;
  /**
   * Quarantined aggregates that the page may lack.
   */
  quarantined?: string[];
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * Read position of the answer.
   */
  token?: string;
  /**
   * Newest first.
   */
  versions: ConfigVersion[];
}
/**
 * What differs between two points.
 */
export interface DiffAnswer {
  /**
   * Age of a cached answer, in ms.
   */
  age_ms?: number;
  /**
   * Where the next page begins; without it this is the last page.
   */
  cursor?: string;
  /**
   * The events of the keys that differ, key by key.
   */
  events: DiffEvent[];
  /**
   * As it was asked.
   */
  from: unknown;
  /**
   * From the object of keys and values at from to that at to.
   */
  patch: PatchOperation[];
  /**
   * Quarantined aggregates that the page may lack.
   */
  quarantined?: string[];
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * As it was asked, or the revision of now.
   */
  to: unknown;
  /**
   * Read position of the answer.
   */
  token?: string;
}
/**
 * An event without its content.
 */
export interface DiffEvent {
  /**
   * The authenticated sender.
   */
  actor?: string;
  /**
   * The command that caused it.
   */
  command_id: string;
  /**
   * The entry.
   */
  key: string;
  /**
   * When it was recorded.
   */
  recorded_at: string;
  /**
   * Sequence in the journal partition.
   */
  revision: number;
  /**
   * Type of the event.
   */
  type: string;
  /**
   * Version of the entry.
   */
  version: number;
  /**
   * As the command named it.
   */
  writer: string;
}
/**
 * An operation of a JSON Patch (RFC 6902).
 */
export interface PatchOperation {
  /**
   * What changes.
   */
  op: "add" | "remove" | "replace";
  /**
   * JSON pointer; the first token is the key.
   */
  path: string;
  /**
   * The new value.
   */
  value?: unknown;
}
/**
 * A page of entries.
 */
export interface EntriesAnswer {
  /**
   * Age of a cached answer, in ms.
   */
  age_ms?: number;
  /**
   * Where the next page begins; without it this is the last page.
   */
  cursor?: string;
  /**
   * In the order of the keys.
   */
  entries: Entry[];
  /**
   * Quarantined aggregates that the page may lack.
   */
  quarantined?: string[];
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * Read position of the answer.
   */
  token?: string;
}
/**
 * A state or configuration entry.
 */
export interface Entry {
  /**
   * The agent.
   */
  agent_id: string;
  /**
   * Digest of its last event.
   */
  digest: string;
  /**
   * The entry.
   */
  key: string;
  /**
   * Sequence in the journal partition.
   */
  revision: number;
  /**
   * The writer's time, of a state entry.
   */
  timestamp?: string;
  /**
   * When it was recorded, of a configuration entry.
   */
  updated_at?: string;
  /**
   * As it was sent, byte for byte.
   */
  value?: unknown;
  /**
   * Changes of the entry, from 1.
   */
  version: number;
}
/**
 * An entry.
 */
export interface EntryAnswer {
  /**
   * The agent.
   */
  agent_id: string;
  /**
   * Digest of its last event.
   */
  digest: string;
  /**
   * The entry.
   */
  key: string;
  /**
   * Sequence in the journal partition.
   */
  revision: number;
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * The writer's time, of a state entry.
   */
  timestamp?: string;
  /**
   * Read position of the answer.
   */
  token?: string;
  /**
   * When it was recorded, of a configuration entry.
   */
  updated_at?: string;
  /**
   * As it was sent, byte for byte.
   */
  value?: unknown;
  /**
   * Changes of the entry, from 1.
   */
  version: number;
}
/**
 * A version of a state entry, or a losing write.
 */
export interface EntryVersion {
  /**
   * The authenticated sender.
   */
  actor?: string;
  /**
   * The agent.
   */
  agent_id: string;
  /**
   * The command that caused it.
   */
  command_id: string;
  /**
   * Digest of its last event.
   */
  digest: string;
  /**
   * The content was erased.
   */
  erased?: boolean;
  /**
   * The entry.
   */
  key: string;
  /**
   * What the write did.
   */
  kind: "set" | "deleted" | "superseded" | "rejected";
  /**
   * Error code of a rejection.
   */
  reason?: string;
  /**
   * When the event was recorded.
   */
  recorded_at: string;
  /**
   * Sequence in the journal partition.
   */
  revision: number;
  /**
   * The writer's time, of a state entry.
   */
  timestamp?: string;
  /**
   * When it was recorded, of a configuration entry.
   */
  updated_at?: string;
  /**
   * As it was sent, byte for byte.
   */
  value?: unknown;
  /**
   * Changes of the entry, from 1.
   */
  version: number;
  /**
   * As the command named it.
   */
  writer: string;
}
/**
 * Data whose key was destroyed, as queries show it.
 */
export interface Erased {
  /**
   * true.
   */
  erased: boolean;
}
/**
 * What an erasure has removed.
 */
export interface Erasure {
  /**
   * Claims that it held.
   */
  claims?: number;
  /**
   * Configuration entries.
   */
  config: number;
  /**
   * Ids of the destroyed keys.
   */
  data_keys: string[] | null;
  /**
   * State entries.
   */
  entries: number;
  /**
   * Further keys that are not named.
   */
  more?: number;
  /**
   * Reminders whose commands went to it.
   */
  reminders?: number;
  /**
   * Sessions that it owned.
   */
  sessions: number;
  /**
   * Tasks that belonged to the agent.
   */
  tasks: number;
}
/**
 * A refusal, or a failure.
 */
export interface Error {
  /**
   * What is wrong.
   */
  error: ErrorBody;
}
/**
 * An event of the journal. Its type decides the form of data and state.
 */
export interface Event {
  /**
   * The authenticated sender.
   */
  actor?: string;
  /**
   * agent, task, session, config, claim, message, reminder, view or require.
   */
  aggregate: string;
  /**
   * The command that caused it.
   */
  command_id: string;
  /**
   * What happened, by type.
   */
  data: {
    [k: string]: unknown;
  };
  /**
   * SHA-256 over the digest before and the RFC 8785 form without it.
   */
  digest: string;
  /**
   * Of the aggregate.
   */
  id: string;
  /**
   * Of a state or configuration entry.
   */
  key?: string;
  /**
   * The engine's clock at the decision.
   */
  recorded_at: string;
  /**
   * Sequence in the journal partition; in the answers of queries.
   */
  revision?: number;
  /**
   * Version of the format.
   */
  schema: number;
  /**
   * The aggregate after the event, where data alone does not say it.
   */
  state?: {
    [k: string]: unknown;
  };
  /**
   * The writer's time.
   */
  timestamp: string;
  /**
   * W3C trace context of the command.
   */
  traceparent?: string;
  /**
   * Only with traceparent.
   */
  tracestate?: string;
  /**
   * Type of the event.
   */
  type: string;
  /**
   * Position in the aggregate, from 1.
   */
  version: number;
  /**
   * As the command named it.
   */
  writer: string;
}
/**
 * A page of events.
 */
export interface EventsAnswer {
  /**
   * Oldest first; each with its revision.
   */
  events: Event[];
  /**
   * The last revision of the partition.
   */
  head: number;
  /**
   * The revision to go on from.
   */
  next: number;
  /**
   * Read position.
   */
  token: string;
}
/**
 * A heartbeat on agents.heartbeat.<agent>.
 */
export interface Heartbeat {
  /**
   * The agent.
   */
  agent_id: string;
  /**
   * The command.
   */
  command_id: string;
  /**
   * When the engine took it.
   */
  sent_at: string;
  /**
   * As it was sent.
   */
  status?: unknown;
}
/**
 * A page of an inbox.
 */
export interface InboxAnswer {
  /**
   * Age of a cached answer, in ms.
   */
  age_ms?: number;
  /**
   * Where the next page begins; without it this is the last page.
   */
  cursor?: string;
  /**
   * Newest first.
   */
  messages: InboxMessage[];
  /**
   * Quarantined aggregates that the page may lack.
   */
  quarantined?: string[];
  /**
   * All messages up to this mark are read; 0 = none.
   */
  read_up_to: number;
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * Read position of the answer.
   */
  token?: string;
  /**
   * Unread messages of the whole inbox, at most 10000.
   */
  unread: number;
}
/**
 * A message in an inbox.
 */
export interface InboxMessage {
  /**
   * As it was sent.
   */
  body: unknown;
  /**
   * The sender.
   */
  from: string;
  /**
   * To one agent, or to all.
   */
  kind: "direct" | "broadcast";
  /**
   * Where it stands in every inbox; rises.
   */
  mark: number;
  /**
   * Its command id.
   */
  message_id: string;
  /**
   * The agent has marked it as read.
   */
  read: boolean;
  /**
   * When the engine took it.
   */
  sent_at: string;
  /**
   * In the stream AGENT_MESSAGES.
   */
  sequence: number;
  /**
   * The recipient of a direct message.
   */
  to?: string;
}
/**
 * Data of message.read.
 */
export interface InboxRead {
  /**
   * Single messages.
   */
  marks?: number[];
  /**
   * Fingerprint of the command's verb and body.
   */
  request: string;
  /**
   * All messages up to this mark.
   */
  up_to?: number;
}
/**
 * What an agent has read.
 */
export interface InboxState {
  /**
   * Single messages beyond it.
   */
  marks?: number[];
  /**
   * All messages up to this mark; 0 = none.
   */
  read_up_to: number;
}
/**
 * The journal, and this engine's work on it.
 */
export interface JournalStatus {
  /**
   * Appends that another write came before.
   */
  conflicts: number;
  /**
   * Last revision by partition.
   */
  heads: number[] | null;
  /**
   * Id of the journal; tokens begin with it.
   */
  incarnation: string;
  /**
   * Partitions.
   */
  partitions: number;
  /**
   * Commands that had taken effect before.
   */
  replays: number;
  /**
   * Replicas.
   */
  replicas: number;
}
/**
 * The lifecycle of an agent.
 */
export interface LifecycleAnswer {
  /**
   * The agent.
   */
  agent_id: string;
  /**
   * Digest of the last event.
   */
  digest?: string;
  /**
   * Entries that SQL does not have yet; null = unknown.
   */
  dirty_keys?: number | null;
  /**
   * Where a hydration or flush began.
   */
  from?: "cold" | "hydrating" | "active" | "flushing" | "expired";
  /**
   * The last write or heartbeat since the engine's start; null = none.
   */
  last_seen?: string | null;
  /**
   * The phase.
   */
  phase: "cold" | "hydrating" | "active" | "flushing" | "expired";
  /**
   * Sequence of the last event.
   */
  revision: number;
  /**
   * When it began.
   */
  since?: string | null;
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * Read position of the answer.
   */
  token?: string;
  /**
   * When the last event was recorded.
   */
  updated_at?: string;
  /**
   * Events of the lifecycle.
   */
  version: number;
}
/**
 * Data of the events of a lifecycle.
 */
export interface LifecycleChanged {
  /**
   * Of an erasure.
   */
  erasure?: Erasure;
  /**
   * Keys that were hydrated, flushed or removed from KV.
   */
  keys?: string[] | null;
  /**
   * Further keys that are not named.
   */
  more?: number;
  /**
   * Of a fork.
   */
  origin?: Origin;
  /**
   * Why.
   */
  reason?: string;
  /**
   * Fingerprint of the command's verb and body.
   */
  request: string;
  /**
   * Of a revert.
   */
  reverted?: AgentReversion;
  /**
   * Of a flush: up to which SQL has the agent's changes.
   */
  revision?: number;
}
/**
 * The state that a forked agent starts from.
 */
export interface Origin {
  /**
   * The agent.
   */
  agent: string;
  /**
   * If the fork asked for a time.
   */
  at_time?: string;
  /**
   * Entries; of the fork, not of an entry.
   */
  keys?: number;
  /**
   * Its partition.
   */
  partition: number;
  /**
   * Of that partition, as of which it was copied.
   */
  revision: number;
}
/**
 * The lifecycle of an agent.
 */
export interface LifecycleState {
  /**
   * Where a hydration or flush began.
   */
  from?: "cold" | "hydrating" | "active" | "flushing" | "expired";
  /**
   * The phase.
   */
  phase: "cold" | "hydrating" | "active" | "flushing" | "expired";
  /**
   * When it began.
   */
  since?: string | null;
}
/**
 * Data of message.sent.
 */
export interface MessageSent {
  /**
   * As it was sent.
   */
  body: unknown;
  /**
   * What it is.
   */
  kind: "direct" | "broadcast" | "notification";
  /**
   * Fingerprint of the command's verb and body.
   */
  request: string;
  /**
   * The recipient of a direct message.
   */
  to?: string;
  /**
   * Of a notification.
   */
  type?: string;
}
/**
 * The NATS server.
 */
export interface NATSStatus {
  /**
   * Where the accounts of principals are, of an external server.
   */
  accounts?: string;
  /**
   * Whose it is.
   */
  mode: "embedded" | "external";
  /**
   * Whether it answers.
   */
  state: "up" | "away";
  /**
   * Without secrets.
   */
  url: string;
  /**
   * Of the server.
   */
  version?: string;
}
/**
 * The receipt of a durable command, or its error.
 */
export interface Outcome {
  /**
   * As in a receipt.
   */
  aggregate?: string;
  /**
   * The command.
   */
  command_id?: string;
  /**
   * As in a receipt.
   */
  erasure?: ErasureReceipt;
  /**
   * Why it was refused; then it is the only member.
   */
  error?: ErrorBody;
  /**
   * As in a receipt.
   */
  id?: string;
  /**
   * As in a receipt.
   */
  key?: string;
  /**
   * As in a receipt.
   */
  keys?: number;
  /**
   * As in a receipt.
   */
  outcome?: "accepted" | "superseded" | "unchanged";
  /**
   * As in a receipt.
   */
  replayed?: boolean;
  /**
   * As in a receipt.
   */
  revision?: number;
  /**
   * As in a receipt.
   */
  token?: string;
  /**
   * As in a receipt.
   */
  value?: unknown;
  /**
   * As in a receipt.
   */
  version?: number;
}
/**
 * Data of events that need none.
 */
export interface Plain {
  /**
   * Fingerprint of the command's verb and body.
   */
  request: string;
}
/**
 * The database.
 */
export interface PostgresStatus {
  /**
   * Whose it is.
   */
  mode: "managed" | "external" | "off";
  /**
   * Why not.
   */
  reason?: string;
  /**
   * Of the engine's tables.
   */
  schema?: string;
  /**
   * Whether it answers.
   */
  state: "up" | "away" | "off";
  /**
   * Without secrets.
   */
  url?: string;
  /**
   * Of the server.
   */
  version?: string;
  /**
   * What the way to it lets others do.
   */
  warning?: string;
}
/**
 * What prevents or endangers the work.
 */
export interface Problem {
  /**
   * Of the engine.
   */
  component: string;
  /**
   * degraded: commands work; stopped: they do not.
   */
  level: string;
  /**
   * A sentence.
   */
  reason: string;
  /**
   * Since when.
   */
  since: string;
}
/**
 * What an agent had read.
 */
export interface ReadVersion {
  /**
   * The authenticated sender.
   */
  actor?: string;
  /**
   * The command that caused it.
   */
  command_id: string;
  /**
   * Digest of the event.
   */
  digest: string;
  /**
   * The content was erased.
   */
  erased?: boolean;
  /**
   * When the event was recorded.
   */
  recorded_at: string;
  /**
   * Sequence in the journal partition.
   */
  revision: number;
  /**
   * After the event.
   */
  state?: InboxState;
  /**
   * The writer's time.
   */
  timestamp: string;
  /**
   * Type of the event.
   */
  type: string;
  /**
   * Version of the aggregate.
   */
  version: number;
  /**
   * As the command named it.
   */
  writer: string;
}
/**
 * A page of what an agent has marked as read.
 */
export interface ReadVersionsAnswer {
  /**
   * Age of a cached answer, in ms.
   */
  age_ms?: number;
  /**
   * The agent.
   */
  agent_id: string;
  /**
   * Where the next page begins; without it this is the last page.
   */
  cursor?: string;
  /**
   * Quarantined aggregates that the page may lack.
   */
  quarantined?: string[];
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * Read position of the answer.
   */
  token?: string;
  /**
   * Newest first.
   */
  versions: ReadVersion[];
}
/**
 * A reminder.
 */
export interface Reminder {
  /**
   * The agent that it is for.
   */
  agent_id?: string;
  /**
   * The only due time.
   */
  at?: string;
  /**
   * The command that is sent.
   */
  command: ReminderCommand;
  /**
   * The largest number of firings.
   */
  count?: number;
  /**
   * Five fields.
   */
  cron?: string;
  /**
   * Digest of the last event.
   */
  digest: string;
  /**
   * When it ended.
   */
  ended_at?: string;
  /**
   * From one due time to the next, in ms.
   */
  every_ms?: number;
  /**
   * Firings.
   */
  fired: number;
  /**
   * The last answered firing.
   */
  last?: ReminderLast;
  /**
   * What happens to missed due times: one, all or skip.
   */
  missed: string;
  /**
   * Due times without a firing of their own.
   */
  missed_count: number;
  /**
   * The next due time; missing: there is none.
   */
  next_at?: string;
  /**
   * The agent whose key encrypts the content.
   */
  owner?: string;
  /**
   * The firing under way.
   */
  pending?: ReminderPending;
  /**
   * The reminder.
   */
  reminder_id: string;
  /**
   * Sequence of the last event in its journal partition.
   */
  revision: number;
  /**
   * When it was set.
   */
  set_at?: string;
  /**
   * The principal that the command is sent as.
   */
  set_by?: string;
  /**
   * Where it is.
   */
  status: "active" | "done" | "cancelled";
  /**
   * Of cron.
   */
  timezone?: string;
  /**
   * No due time after it.
   */
  until?: string;
  /**
   * When the last event was recorded.
   */
  updated_at: string;
  /**
   * Changes of the aggregate, from 1.
   */
  version: number;
}
/**
 * The command that a reminder sends.
 */
export interface ReminderCommand {
  /**
   * Its body.
   */
  body?: unknown;
  /**
   * <aggregate>.<id>.<verb>.
   */
  subject: string;
}
/**
 * A firing that was answered.
 */
export interface ReminderLast {
  /**
   * When it was answered.
   */
  at: string;
  /**
   * Of the command that was sent.
   */
  command_id: string;
  /**
   * Its due time.
   */
  due: string;
  /**
   * Why it was refused.
   */
  error?: ReminderError;
  /**
   * What came of it.
   */
  outcome: "accepted" | "superseded" | "unchanged" | "refused";
  /**
   * Of the command's event.
   */
  revision?: number;
  /**
   * Of the command's aggregate.
   */
  version?: number;
}
/**
 * Why a command was refused.
 */
export interface ReminderError {
  /**
   * Stable, dotted.
   */
  code: string;
  /**
   * For people.
   */
  message?: string;
  /**
   * As in HTTP.
   */
  status: number;
}
/**
 * A firing under way.
 */
export interface ReminderPending {
  /**
   * Of the command that is sent.
   */
  command_id: string;
  /**
   * Its due time.
   */
  due: string;
  /**
   * The command that is sent, if the reminder was set again since.
   */
  replaced?: ReminderCommand;
  /**
   * The principal that it is sent as.
   */
  set_by?: string;
}
/**
 * A reminder.
 */
export interface ReminderAnswer {
  /**
   * The agent that it is for.
   */
  agent_id?: string;
  /**
   * The only due time.
   */
  at?: string;
  /**
   * The command that is sent.
   */
  command: ReminderCommand;
  /**
   * The largest number of firings.
   */
  count?: number;
  /**
   * Five fields.
   */
  cron?: string;
  /**
   * Digest of the last event.
   */
  digest: string;
  /**
   * When it ended.
   */
  ended_at?: string;
  /**
   * From one due time to the next, in ms.
   */
  every_ms?: number;
  /**
   * Firings.
   */
  fired: number;
  /**
   * The last answered firing.
   */
  last?: ReminderLast;
  /**
   * What happens to missed due times: one, all or skip.
   */
  missed: string;
  /**
   * Due times without a firing of their own.
   */
  missed_count: number;
  /**
   * The next due time; missing: there is none.
   */
  next_at?: string;
  /**
   * The agent whose key encrypts the content.
   */
  owner?: string;
  /**
   * The firing under way.
   */
  pending?: ReminderPending;
  /**
   * The reminder.
   */
  reminder_id: string;
  /**
   * Sequence of the last event in its journal partition.
   */
  revision: number;
  /**
   * When it was set.
   */
  set_at?: string;
  /**
   * The principal that the command is sent as.
   */
  set_by?: string;
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * Where it is.
   */
  status: "active" | "done" | "cancelled";
  /**
   * Of cron.
   */
  timezone?: string;
  /**
   * Read position of the answer.
   */
  token?: string;
  /**
   * No due time after it.
   */
  until?: string;
  /**
   * When the last event was recorded.
   */
  updated_at: string;
  /**
   * Changes of the aggregate, from 1.
   */
  version: number;
}
/**
 * Data of reminder.due.
 */
export interface ReminderDue {
  /**
   * Of the command that is sent.
   */
  command_id: string;
  /**
   * The due time.
   */
  due: string;
  /**
   * Earlier due times that this firing stands for.
   */
  missed_count?: number;
  /**
   * The next due time; missing: there is none.
   */
  next_at?: string;
  /**
   * Fingerprint of the command's verb and body.
   */
  request: string;
}
/**
 * Data of reminder.done.
 */
export interface ReminderEnded {
  /**
   * Firings.
   */
  fired: number;
  /**
   * Why there is no further due time.
   */
  reason: "at" | "count" | "until";
  /**
   * Fingerprint of the command's verb and body.
   */
  request: string;
}
/**
 * Data of reminder.fired.
 */
export interface ReminderFired {
  /**
   * Of the command that was sent.
   */
  command_id: string;
  /**
   * The due time.
   */
  due: string;
  /**
   * Why it was refused.
   */
  error?: ReminderError;
  /**
   * What came of it.
   */
  outcome: "accepted" | "superseded" | "unchanged" | "refused";
  /**
   * Fingerprint of the command's verb and body.
   */
  request: string;
  /**
   * Of the command's event.
   */
  revision?: number;
  /**
   * Of the command's aggregate.
   */
  version?: number;
}
/**
 * Data of reminder.missed.
 */
export interface ReminderMissed {
  /**
   * Due times.
   */
  count: number;
  /**
   * The first of them.
   */
  first: string;
  /**
   * The last of them.
   */
  last: string;
  /**
   * The next due time; missing: there is none.
   */
  next_at?: string;
  /**
   * Fingerprint of the command's verb and body.
   */
  request: string;
}
/**
 * Data of reminder.set.
 */
export interface ReminderScheduled {
  /**
   * The agent that it is for.
   */
  agent_id?: string;
  /**
   * The only due time.
   */
  at?: string;
  /**
   * The command that is sent.
   */
  command: ReminderCommand;
  /**
   * The largest number of firings.
   */
  count?: number;
  /**
   * Five fields.
   */
  cron?: string;
  /**
   * From one due time to the next, in ms.
   */
  every_ms?: number;
  /**
   * one, all or skip.
   */
  missed: string;
  /**
   * The first due time.
   */
  next_at: string;
  /**
   * The agent whose key encrypts the content.
   */
  owner?: string;
  /**
   * Fingerprint of the command's verb and body.
   */
  request: string;
  /**
   * The principal that the command is sent as.
   */
  set_by?: string;
  /**
   * Of cron.
   */
  timezone?: string;
  /**
   * No due time after it.
   */
  until?: string;
}
/**
 * The state of a reminder.
 */
export interface ReminderState {
  /**
   * The agent that it is for.
   */
  agent_id?: string;
  /**
   * The only due time.
   */
  at?: string;
  /**
   * The command that is sent.
   */
  command: ReminderCommand;
  /**
   * The largest number of firings.
   */
  count?: number;
  /**
   * Five fields.
   */
  cron?: string;
  /**
   * When it ended.
   */
  ended_at?: string;
  /**
   * From one due time to the next, in ms.
   */
  every_ms?: number;
  /**
   * Firings.
   */
  fired: number;
  /**
   * The last answered firing.
   */
  last?: ReminderLast;
  /**
   * What happens to missed due times: one, all or skip.
   */
  missed: string;
  /**
   * Due times without a firing of their own.
   */
  missed_count: number;
  /**
   * The next due time; missing: there is none.
   */
  next_at?: string;
  /**
   * The agent whose key encrypts the content.
   */
  owner?: string;
  /**
   * The firing under way.
   */
  pending?: ReminderPending;
  /**
   * When it was set.
   */
  set_at?: string;
  /**
   * The principal that the command is sent as.
   */
  set_by?: string;
  /**
   * Where it is.
   */
  status: "active" | "done" | "cancelled";
  /**
   * Of cron.
   */
  timezone?: string;
  /**
   * No due time after it.
   */
  until?: string;
}
/**
 * A state of a reminder.
 */
export interface ReminderVersion {
  /**
   * The authenticated sender.
   */
  actor?: string;
  /**
   * The command that caused it.
   */
  command_id: string;
  /**
   * Digest of the event.
   */
  digest: string;
  /**
   * The content was erased.
   */
  erased?: boolean;
  /**
   * When the event was recorded.
   */
  recorded_at: string;
  /**
   * Sequence in the journal partition.
   */
  revision: number;
  /**
   * After the event.
   */
  state?: ReminderState;
  /**
   * The writer's time.
   */
  timestamp: string;
  /**
   * Type of the event.
   */
  type: string;
  /**
   * Version of the aggregate.
   */
  version: number;
  /**
   * As the command named it.
   */
  writer: string;
}
/**
 * A page of the history of a reminder.
 */
export interface ReminderVersionsAnswer {
  /**
   * Age of a cached answer, in ms.
   */
  age_ms?: number;
  /**
   * Where the next page begins; without it this is the last page.
   */
  cursor?: string;
  /**
   * Quarantined aggregates that the page may lack.
   */
  quarantined?: string[];
  /**
   * The reminder.
   */
  reminder_id: string;
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * Read position of the answer.
   */
  token?: string;
  /**
   * Newest first.
   */
  versions: ReminderVersion[];
}
/**
 * A page of reminders.
 */
export interface RemindersAnswer {
  /**
   * Age of a cached answer, in ms.
   */
  age_ms?: number;
  /**
   * Where the next page begins; without it this is the last page.
   */
  cursor?: string;
  /**
   * Quarantined aggregates that the page may lack.
   */
  quarantined?: string[];
  /**
   * In the order of their ids.
   */
  reminders: Reminder[];
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * Read position of the answer.
   */
  token?: string;
}
/**
 * Data of require.checked.
 */
export interface RequireChecked {
  /**
   * The aggregate.
   */
  name: string;
  /**
   * Of its last event.
   */
  revision: number;
  /**
   * 0 = it did not exist.
   */
  version: number;
}
/**
 * Data of require.declared.
 */
export interface RequireDeclared {
  /**
   * Events that follow in the same append.
   */
  checks: number;
}
/**
 * What must hold when a batch is appended.
 */
export interface Requirement {
  /**
   * Of a state or configuration entry.
   */
  key?: string;
  /**
   * The claim is held by it.
   */
  owner?: string;
  /**
   * <aggregate>.<id>.
   */
  subject: string;
  /**
   * The aggregate has this version; 0 = there is none.
   */
  version?: number;
}
/**
 * The state that an entry was brought back to.
 */
export interface Reversion {
  /**
   * Why.
   */
  reason?: string;
  /**
   * Of the event of that version; 0 = there is none.
   */
  revision: number;
  /**
   * As the revert asked.
   */
  to_revision?: number;
  /**
   * As the revert asked.
   */
  to_time?: string;
  /**
   * As the revert asked.
   */
  to_version?: number;
  /**
   * Of the entry then; 0 = it did not exist.
   */
  version: number;
}
/**
 * A row of a declared view.
 */
export interface Row {
  /**
   * The key of the row.
   */
  key: string;
  [k: string]: unknown;
}
/**
 * A row of a declared view.
 */
export interface RowAnswer {
  /**
   * The row.
   */
  row: Row;
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * Read position of the answer.
   */
  token?: string;
}
/**
 * A page of a declared view.
 */
export interface RowsAnswer {
  /**
   * Age of a cached answer, in ms.
   */
  age_ms?: number;
  /**
   * Where the next page begins; without it this is the last page.
   */
  cursor?: string;
  /**
   * Quarantined aggregates that the page may lack.
   */
  quarantined?: string[];
  /**
   * In the order of their keys.
   */
  rows: Row[];
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * Read position of the answer.
   */
  token?: string;
}
/**
 * Data as the journal stores it where encryption is on.
 */
export interface Sealed {
  /**
   * The encrypted content, base64.
   */
  sealed: string;
  /**
   * The agent whose key it is, of tasks, sessions, reminders and claims.
   */
  sealed_for?: string;
  /**
   * Id of the key.
   */
  sealed_key: string;
}
/**
 * A session.
 */
export interface Session {
  /**
   * Values by key.
   */
  data?: {
    [k: string]: unknown;
  };
  /**
   * Digest of the last event.
   */
  digest: string;
  /**
   * When it ended.
   */
  ended_at?: string;
  /**
   * When it ends by itself.
   */
  expires_at?: string;
  /**
   * When it was opened.
   */
  opened_at?: string;
  /**
   * The agent or user that it belongs to.
   */
  owner: string;
  /**
   * Sequence of the last event in its journal partition.
   */
  revision: number;
  /**
   * The session.
   */
  session_id: string;
  /**
   * Where it is.
   */
  status: "open" | "closed" | "expired";
  /**
   * The last open, put or touch.
   */
  touched_at?: string;
  /**
   * How long it stays open without a put or touch, in seconds.
   */
  ttl_seconds: number;
  /**
   * When the last event was recorded.
   */
  updated_at: string;
  /**
   * Changes of the aggregate, from 1.
   */
  version: number;
}
/**
 * A session.
 */
export interface SessionAnswer {
  /**
   * Values by key.
   */
  data?: {
    [k: string]: unknown;
  };
  /**
   * Digest of the last event.
   */
  digest: string;
  /**
   * When it ended.
   */
  ended_at?: string;
  /**
   * When it ends by itself.
   */
  expires_at?: string;
  /**
   * When it was opened.
   */
  opened_at?: string;
  /**
   * The agent or user that it belongs to.
   */
  owner: string;
  /**
   * Sequence of the last event in its journal partition.
   */
  revision: number;
  /**
   * The session.
   */
  session_id: string;
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * Where it is.
   */
  status: "open" | "closed" | "expired";
  /**
   * Read position of the answer.
   */
  token?: string;
  /**
   * The last open, put or touch.
   */
  touched_at?: string;
  /**
   * How long it stays open without a put or touch, in seconds.
   */
  ttl_seconds: number;
  /**
   * When the last event was recorded.
   */
  updated_at: string;
  /**
   * Changes of the aggregate, from 1.
   */
  version: number;
}
/**
 * Data of session.opened.
 */
export interface SessionOpened {
  /**
   * The agent or user that it belongs to.
   */
  owner: string;
  /**
   * Fingerprint of the command's verb and body.
   */
  request: string;
  /**
   * How long it stays open without a put or touch, in seconds.
   */
  ttl_seconds: number;
}
/**
 * Data of session.put.
 */
export interface SessionPut {
  /**
   * The member.
   */
  key: string;
  /**
   * Fingerprint of the command's verb and body.
   */
  request: string;
  /**
   * As it was sent.
   */
  value: unknown;
}
/**
 * The state of a session.
 */
export interface SessionState {
  /**
   * Values by key.
   */
  data?: {
    [k: string]: unknown;
  };
  /**
   * When it ended.
   */
  ended_at?: string;
  /**
   * When it ends by itself.
   */
  expires_at?: string;
  /**
   * When it was opened.
   */
  opened_at?: string;
  /**
   * The agent or user that it belongs to.
   */
  owner: string;
  /**
   * Where it is.
   */
  status: "open" | "closed" | "expired";
  /**
   * The last open, put or touch.
   */
  touched_at?: string;
  /**
   * How long it stays open without a put or touch, in seconds.
   */
  ttl_seconds: number;
}
/**
 * A state of a session.
 */
export interface SessionVersion {
  /**
   * The authenticated sender.
   */
  actor?: string;
  /**
   * The command that caused it.
   */
  command_id: string;
  /**
   * Digest of the event.
   */
  digest: string;
  /**
   * The content was erased.
   */
  erased?: boolean;
  /**
   * When the event was recorded.
   */
  recorded_at: string;
  /**
   * Sequence in the journal partition.
   */
  revision: number;
  /**
   * After the event.
   */
  state?: SessionState;
  /**
   * The writer's time.
   */
  timestamp: string;
  /**
   * Type of the event.
   */
  type: string;
  /**
   * Version of the aggregate.
   */
  version: number;
  /**
   * As the command named it.
   */
  writer: string;
}
/**
 * A page of the history of a session.
 */
export interface SessionVersionsAnswer {
  /**
   * Age of a cached answer, in ms.
   */
  age_ms?: number;
  /**
   * Where the next page begins; without it this is the last page.
   */
  cursor?: string;
  /**
   * Quarantined aggregates that the page may lack.
   */
  quarantined?: string[];
  /**
   * The session.
   */
  session_id: string;
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * Read position of the answer.
   */
  token?: string;
  /**
   * Newest first.
   */
  versions: SessionVersion[];
}
/**
 * A page of sessions.
 */
export interface SessionsAnswer {
  /**
   * Age of a cached answer, in ms.
   */
  age_ms?: number;
  /**
   * Where the next page begins; without it this is the last page.
   */
  cursor?: string;
  /**
   * Quarantined aggregates that the page may lack.
   */
  quarantined?: string[];
  /**
   * In the order of their ids.
   */
  sessions: Session[];
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * Read position of the answer.
   */
  token?: string;
}
/**
 * Data of a write that lost.
 */
export interface StateLost {
  /**
   * Of a loss against a write of the same batch: how many revisions before this event that write is.
   */
  current_before?: number;
  /**
   * Of the entry that it lost against; 0 where current_before says it.
   */
  current_revision: number;
  /**
   * Of the entry that it lost against; 0 = it did not exist.
   */
  current_version: number;
  /**
   * Error message of a rejection.
   */
  message?: string;
  /**
   * Error code of a rejection.
   */
  reason?: string;
  /**
   * Fingerprint of the command's verb and body.
   */
  request: string;
  /**
   * The conflict strategy in force.
   */
  strategy?: string;
  /**
   * What was to be written.
   */
  value?: unknown;
  /**
   * set, merge, add, append, revert or delete.
   */
  verb: string;
}
/**
 * A value of the buckets AGENT_STATE and AGENT_CONFIG.
 */
export interface StateValue {
  /**
   * The agent.
   */
  agent_id: string;
  /**
   * Digest of the last event.
   */
  digest: string;
  /**
   * Sequence of the last event.
   */
  revision: number;
  /**
   * The writer's time.
   */
  timestamp: string;
  /**
   * As it was sent, byte for byte.
   */
  value: unknown;
  /**
   * Changes of the entry, from 1.
   */
  version: number;
}
/**
 * Data of a write.
 */
export interface StateWritten {
  /**
   * Of a deletion: the erasure of the agent has deleted the entry.
   */
  erased?: boolean;
  /**
   * The entry that a fork has copied.
   */
  origin?: Origin;
  /**
   * Fingerprint of the command's verb and body.
   */
  request: string;
  /**
   * The state that a revert has brought back.
   */
  reverted?: Reversion;
  /**
   * The conflict strategy in force; missing in configuration.
   */
  strategy?: string;
  /**
   * As it was sent, or as it was computed; missing in a deletion.
   */
  value?: unknown;
}
/**
 * The state of an engine.
 */
export interface Status {
  /**
   * The background comparison of the tiers.
   */
  audit?: AuditStatus;
  /**
   * Commands that are being executed.
   */
  commands_in_flight: number;
  /**
   * The data directory on the engine's machine.
   */
  data?: string;
  /**
   * What an acknowledgement promises: synced, relaxed, replicated, external.
   */
  durability: string;
  /**
   * The same as a sentence.
   */
  durability_detail: string;
  /**
   * URL of the HTTP listener.
   */
  http: string;
  /**
   * The journal, and this engine's work on it.
   */
  journal: JournalStatus;
  /**
   * The NATS server.
   */
  nats: NATSStatus;
  /**
   * The database.
   */
  postgres: PostgresStatus;
  /**
   * The same with component, level and time.
   */
  problems?: Problem[];
  /**
   * It takes commands.
   */
  ready: boolean;
  /**
   * What is wrong, the worst first.
   */
  reasons: string[];
  /**
   * Room for the journal, in bytes.
   */
  storage: StorageStatus;
  /**
   * The prefix of all subjects.
   */
  subject_prefix?: string;
  /**
   * The certificate of the listeners.
   */
  tls?: TLSStatus;
  /**
   * Read token of the journal's heads: a read with it sees what was written before. Missing while NATS is away.
   */
  token?: string;
  /**
   * The comparison with the topology document.
   */
  topology?: TopologyStatus;
  /**
   * Since the start.
   */
  uptime_seconds: number;
  /**
   * Of the program.
   */
  version: string;
  /**
   * The views by partition.
   */
  views: ViewStatus[];
}
/**
 * Room for the journal, in bytes.
 */
export interface StorageStatus {
  /**
   * Of the file system.
   */
  free?: number;
  /**
   * 0 = none that the server names.
   */
  limit: number;
  /**
   * Commands are refused below this much free space.
   */
  reserve?: number;
  /**
   * Taken.
   */
  used: number;
}
/**
 * The certificate of the listeners.
 */
export interface TLSStatus {
  /**
   * Clients need one.
   */
  client_certificates: boolean;
  /**
   * When it ends.
   */
  expires_at: string;
  /**
   * Why the files cannot be used.
   */
  reason?: string;
}
/**
 * The comparison with the topology document.
 */
export interface TopologyStatus {
  /**
   * When.
   */
  checked_at?: string;
  /**
   * How many differ.
   */
  drift: number;
  /**
   * One line each.
   */
  drifted?: string[];
  /**
   * The engine's own streams that differ.
   */
  engine?: string[];
  /**
   * The document.
   */
  file: string;
  /**
   * Why the last comparison failed.
   */
  reason?: string;
  /**
   * Streams, buckets and consumers in it.
   */
  things: number;
}
/**
 * A view in a partition.
 */
export interface ViewStatus {
  /**
   * The last event of the journal.
   */
  head: number;
  /**
   * The first of them.
   */
  held?: string[];
  /**
   * Events between both.
   */
  lag_events: number;
  /**
   * Age of the oldest of them.
   */
  lag_seconds: number;
  /**
   * The view.
   */
  name: string;
  /**
   * The partition.
   */
  partition: number;
  /**
   * The last event that it has.
   */
  position: number;
  /**
   * Aggregates in quarantine.
   */
  quarantined?: number;
  /**
   * Why.
   */
  reason?: string;
  /**
   * running, standby, waiting, rebuilding, halted.
   */
  state: string;
}
/**
 * A task.
 */
export interface Task {
  /**
   * The agent that it is for; once started, the one that works on it.
   */
  agent_id?: string;
  /**
   * Of a started task: the agent that it was created for.
   */
  assigned_to?: string;
  /**
   * Starts.
   */
  attempts: number;
  /**
   * Command id of the last start, if it was a claim.
   */
  claim_id?: string;
  /**
   * When it was created.
   */
  created_at?: string;
  /**
   * When it ends by itself.
   */
  deadline?: string;
  /**
   * Free text for reason.
   */
  detail?: string;
  /**
   * Digest of the last event.
   */
  digest: string;
  /**
   * While it waits after a failure: the agent whose attempt failed.
   */
  failed_by?: string;
  /**
   * While it waits after a failure: a digest of its reason and detail.
   */
  failure?: string;
  /**
   * Version of the last start.
   */
  fence?: number;
  /**
   * When it ended.
   */
  finished_at?: string;
  /**
   * What kind of work it is.
   */
  kind: string;
  /**
   * When the lease ends without progress.
   */
  lease_expires_at?: string;
  /**
   * Length of the lease, in ms.
   */
  lease_ms?: number;
  /**
   * No claim before.
   */
  not_before?: string;
  /**
   * What is being done.
   */
  note?: string;
  /**
   * What the worker needs.
   */
  payload?: unknown;
  /**
   * How much is done.
   */
  percent?: number;
  /**
   * 10 first.
   */
  priority?: number;
  /**
   * Of a failed, cancelled or repeated task.
   */
  reason?: string;
  /**
   * Of a completed task.
   */
  result?: unknown;
  /**
   * Repetition after a failure.
   */
  retry?: Retry;
  /**
   * Sequence of the last event in its journal partition.
   */
  revision: number;
  /**
   * When the last attempt began.
   */
  started_at?: string;
  /**
   * Where it is.
   */
  status: "created" | "started" | "completed" | "failed" | "cancelled";
  /**
   * The task.
   */
  task_id: string;
  /**
   * When the last event was recorded.
   */
  updated_at: string;
  /**
   * Changes of the aggregate, from 1.
   */
  version: number;
}
/**
 * A task.
 */
export interface TaskAnswer {
  /**
   * The agent that it is for; once started, the one that works on it.
   */
  agent_id?: string;
  /**
   * Of a started task: the agent that it was created for.
   */
  assigned_to?: string;
  /**
   * Starts.
   */
  attempts: number;
  /**
   * Command id of the last start, if it was a claim.
   */
  claim_id?: string;
  /**
   * When it was created.
   */
  created_at?: string;
  /**
   * When it ends by itself.
   */
  deadline?: string;
  /**
   * Free text for reason.
   */
  detail?: string;
  /**
   * Digest of the last event.
   */
  digest: string;
  /**
   * While it waits after a failure: the agent whose attempt failed.
   */
  failed_by?: string;
  /**
   * While it waits after a failure: a digest of its reason and detail.
   */
  failure?: string;
  /**
   * Version of the last start.
   */
  fence?: number;
  /**
   * When it ended.
   */
  finished_at?: string;
  /**
   * What kind of work it is.
   */
  kind: string;
  /**
   * When the lease ends without progress.
   */
  lease_expires_at?: string;
  /**
   * Length of the lease, in ms.
   */
  lease_ms?: number;
  /**
   * No claim before.
   */
  not_before?: string;
  /**
   * What is being done.
   */
  note?: string;
  /**
   * What the worker needs.
   */
  payload?: unknown;
  /**
   * How much is done.
   */
  percent?: number;
  /**
   * 10 first.
   */
  priority?: number;
  /**
   * Of a failed, cancelled or repeated task.
   */
  reason?: string;
  /**
   * Of a completed task.
   */
  result?: unknown;
  /**
   * Repetition after a failure.
   */
  retry?: Retry;
  /**
   * Sequence of the last event in its journal partition.
   */
  revision: number;
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * When the last attempt began.
   */
  started_at?: string;
  /**
   * Where it is.
   */
  status: "created" | "started" | "completed" | "failed" | "cancelled";
  /**
   * The task.
   */
  task_id: string;
  /**
   * Read position of the answer.
   */
  token?: string;
  /**
   * When the last event was recorded.
   */
  updated_at: string;
  /**
   * Changes of the aggregate, from 1.
   */
  version: number;
}
/**
 * Data of task.completed.
 */
export interface TaskCompleted {
  /**
   * Fingerprint of the command's verb and body.
   */
  request: string;
  /**
   * What came of it.
   */
  result?: unknown;
}
/**
 * Data of task.created.
 */
export interface TaskCreated {
  /**
   * The agent that it is for.
   */
  agent_id?: string;
  /**
   * When it ends by itself.
   */
  deadline?: string;
  /**
   * What kind of work it is.
   */
  kind: string;
  /**
   * What the worker needs.
   */
  payload?: unknown;
  /**
   * 10 first.
   */
  priority?: number;
  /**
   * Fingerprint of the command's verb and body.
   */
  request: string;
  /**
   * Repetition after a failure.
   */
  retry?: Retry;
}
/**
 * Data of task.failed and task.cancelled.
 */
export interface TaskEnded {
  /**
   * Free text for reason.
   */
  detail?: string;
  /**
   * Another event of the same command follows.
   */
  followed?: boolean;
  /**
   * Why; one word of a failure.
   */
  reason?: string;
  /**
   * Fingerprint of the command's verb and body.
   */
  request: string;
}
/**
 * Data of task.lease_expired.
 */
export interface TaskLeaseExpired {
  /**
   * The agent that held the lease.
   */
  agent_id: string;
  /**
   * Version of its start.
   */
  fence: number;
  /**
   * Another event of the same command follows.
   */
  followed?: boolean;
  /**
   * Fingerprint of the command's verb and body.
   */
  request: string;
}
/**
 * Data of task.progressed.
 */
export interface TaskProgressed {
  /**
   * What is being done.
   */
  note?: string;
  /**
   * How much is done.
   */
  percent?: number;
  /**
   * Fingerprint of the command's verb and body.
   */
  request: string;
}
/**
 * Data of task.retried.
 */
export interface TaskRetried {
  /**
   * No claim before.
   */
  not_before?: string;
  /**
   * Fingerprint of the command's verb and body.
   */
  request: string;
}
/**
 * Data of task.started.
 */
export interface TaskStarted {
  /**
   * The agent that works on it.
   */
  agent_id: string;
  /**
   * Command id of the claim.
   */
  claim_id?: string;
  /**
   * Version of this event.
   */
  fence?: number;
  /**
   * Length of the lease, in ms; missing: there is none.
   */
  lease_ms?: number;
  /**
   * Fingerprint of the command's verb and body.
   */
  request: string;
}
/**
 * The state of a task.
 */
export interface TaskState {
  /**
   * The agent that it is for; once started, the one that works on it.
   */
  agent_id?: string;
  /**
   * Of a started task: the agent that it was created for.
   */
  assigned_to?: string;
  /**
   * Starts.
   */
  attempts: number;
  /**
   * Command id of the last start, if it was a claim.
   */
  claim_id?: string;
  /**
   * When it was created.
   */
  created_at?: string;
  /**
   * When it ends by itself.
   */
  deadline?: string;
  /**
   * Free text for reason.
   */
  detail?: string;
  /**
   * While it waits after a failure: the agent whose attempt failed.
   */
  failed_by?: string;
  /**
   * While it waits after a failure: a digest of its reason and detail.
   */
  failure?: string;
  /**
   * Version of the last start.
   */
  fence?: number;
  /**
   * When it ended.
   */
  finished_at?: string;
  /**
   * What kind of work it is.
   */
  kind: string;
  /**
   * When the lease ends without progress.
   */
  lease_expires_at?: string;
  /**
   * Length of the lease, in ms.
   */
  lease_ms?: number;
  /**
   * No claim before.
   */
  not_before?: string;
  /**
   * What is being done.
   */
  note?: string;
  /**
   * What the worker needs.
   */
  payload?: unknown;
  /**
   * How much is done.
   */
  percent?: number;
  /**
   * 10 first.
   */
  priority?: number;
  /**
   * Of a failed, cancelled or repeated task.
   */
  reason?: string;
  /**
   * Of a completed task.
   */
  result?: unknown;
  /**
   * Repetition after a failure.
   */
  retry?: Retry;
  /**
   * When the last attempt began.
   */
  started_at?: string;
  /**
   * Where it is.
   */
  status: "created" | "started" | "completed" | "failed" | "cancelled";
}
/**
 * A state of a task.
 */
export interface TaskVersion {
  /**
   * The authenticated sender.
   */
  actor?: string;
  /**
   * The command that caused it.
   */
  command_id: string;
  /**
   * Digest of the event.
   */
  digest: string;
  /**
   * The content was erased.
   */
  erased?: boolean;
  /**
   * When the event was recorded.
   */
  recorded_at: string;
  /**
   * Sequence in the journal partition.
   */
  revision: number;
  /**
   * After the event.
   */
  state?: TaskState;
  /**
   * The writer's time.
   */
  timestamp: string;
  /**
   * Type of the event.
   */
  type: string;
  /**
   * Version of the aggregate.
   */
  version: number;
  /**
   * As the command named it.
   */
  writer: string;
}
/**
 * A page of the history of a task.
 */
export interface TaskVersionsAnswer {
  /**
   * Age of a cached answer, in ms.
   */
  age_ms?: number;
  /**
   * Where the next page begins; without it this is the last page.
   */
  cursor?: string;
  /**
   * Quarantined aggregates that the page may lack.
   */
  quarantined?: string[];
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * The task.
   */
  task_id: string;
  /**
   * Read position of the answer.
   */
  token?: string;
  /**
   * Newest first.
   */
  versions: TaskVersion[];
}
/**
 * A page of tasks.
 */
export interface TasksAnswer {
  /**
   * Age of a cached answer, in ms.
   */
  age_ms?: number;
  /**
   * Where the next page begins; without it this is the last page.
   */
  cursor?: string;
  /**
   * Quarantined aggregates that the page may lack.
   */
  quarantined?: string[];
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * In the order of their ids.
   */
  tasks: Task[];
  /**
   * Read position of the answer.
   */
  token?: string;
}
/**
 * A page of an agent's events.
 */
export interface TimelineAnswer {
  /**
   * Age of a cached answer, in ms.
   */
  age_ms?: number;
  /**
   * Where the next page begins; without it this is the last page.
   */
  cursor?: string;
  /**
   * Newest first.
   */
  events: TimelineEvent[];
  /**
   * Quarantined aggregates that the page may lack.
   */
  quarantined?: string[];
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * Read position of the answer.
   */
  token?: string;
}
/**
 * An event with its position.
 */
export interface TimelineEvent {
  /**
   * The authenticated sender.
   */
  actor?: string;
  /**
   * agent, task, session, config, claim, message, reminder, view or require.
   */
  aggregate?: string;
  /**
   * The command that caused it.
   */
  command_id?: string;
  /**
   * What happened, by type.
   */
  data?: {
    [k: string]: unknown;
  };
  /**
   * SHA-256 over the digest before and the RFC 8785 form without it.
   */
  digest?: string;
  /**
   * Of the aggregate.
   */
  id?: string;
  /**
   * Of a state or configuration entry.
   */
  key?: string;
  /**
   * The partition.
   */
  partition: number;
  /**
   * The engine's clock at the decision.
   */
  recorded_at?: string;
  /**
   * Sequence in the journal partition.
   */
  revision: number;
  /**
   * Version of the format.
   */
  schema?: number;
  /**
   * The aggregate after the event, where data alone does not say it.
   */
  state?: {
    [k: string]: unknown;
  };
  /**
   * The writer's time.
   */
  timestamp?: string;
  /**
   * W3C trace context of the command.
   */
  traceparent?: string;
  /**
   * Only with traceparent.
   */
  tracestate?: string;
  /**
   * Type of the event.
   */
  type?: string;
  /**
   * The aggregate, of an event that this engine cannot read; then there is nothing else.
   */
  unreadable?: string;
  /**
   * Position in the aggregate, from 1.
   */
  version?: number;
  /**
   * As the command named it.
   */
  writer?: string;
}
/**
 * A page of the versions of a state entry.
 */
export interface VersionsAnswer {
  /**
   * Age of a cached answer, in ms.
   */
  age_ms?: number;
  /**
   * Where the next page begins; without it this is the last page.
   */
  cursor?: string;
  /**
   * Quarantined aggregates that the page may lack.
   */
  quarantined?: string[];
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * Read position of the answer.
   */
  token?: string;
  /**
   * Newest first.
   */
  versions: EntryVersion[];
}
/**
 * A declared view.
 */
export interface View {
  /**
   * When it got its definition.
   */
  defined_at?: string;
  /**
   * The definition; of a removed view, the last one.
   */
  definition: ViewDefinition;
  /**
   * Digest of the last event.
   */
  digest: string;
  /**
   * The view.
   */
  name: string;
  /**
   * When it was removed.
   */
  removed_at?: string;
  /**
   * Sequence of the last event in its journal partition.
   */
  revision: number;
  /**
   * The principal that has defined it.
   */
  set_by?: string;
  /**
   * Where it is.
   */
  status: "defined" | "removed";
  /**
   * When the last event was recorded.
   */
  updated_at: string;
  /**
   * Changes of the aggregate, from 1.
   */
  version: number;
}
/**
 * The definition of a declared view, as the engine keeps it.
 */
export interface ViewDefinition {
  /**
   * Pattern of agents; missing: all.
   */
  agents?: string;
  /**
   * Columns by name.
   */
  columns?: {
    [k: string]: ViewColumn;
  };
  /**
   * What the rows are made from.
   */
  from: string;
  /**
   * One row per group of rows.
   */
  group?: ViewGroup;
  /**
   * Where the rows are written: sql, kv.
   */
  into: string[];
  /**
   * Pattern of keys; missing: all.
   */
  keys?: string;
  /**
   * The name.
   */
  name: string;
}
/**
 * A column of a declared view.
 */
export interface ViewColumn {
  /**
   * JSON pointer into the row, such as /value/city.
   */
  path: string;
  /**
   * Its type; a value of another one is null.
   */
  type: "text" | "numeric" | "boolean" | "timestamptz" | "jsonb";
}
/**
 * One row per group of rows.
 */
export interface ViewGroup {
  /**
   * Columns; default: one row of all.
   */
  by?: string[];
  /**
   * Whether there is a column count.
   */
  count?: boolean;
  /**
   * Numeric columns; each has a column sum_<column>.
   */
  sum?: string[];
}
/**
 * A declared view.
 */
export interface ViewAnswer {
  /**
   * When it got its definition.
   */
  defined_at?: string;
  /**
   * The definition; of a removed view, the last one.
   */
  definition: ViewDefinition;
  /**
   * Digest of the last event.
   */
  digest: string;
  /**
   * The view.
   */
  name: string;
  /**
   * When it was removed.
   */
  removed_at?: string;
  /**
   * Sequence of the last event in its journal partition.
   */
  revision: number;
  /**
   * The principal that has defined it.
   */
  set_by?: string;
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * Where it is.
   */
  status: "defined" | "removed";
  /**
   * Read position of the answer.
   */
  token?: string;
  /**
   * When the last event was recorded.
   */
  updated_at: string;
  /**
   * Changes of the aggregate, from 1.
   */
  version: number;
}
/**
 * Data of view.defined.
 */
export interface ViewDefined {
  /**
   * The definition.
   */
  definition: ViewDefinition;
  /**
   * Fingerprint of the command's verb and body.
   */
  request: string;
  /**
   * The principal that has defined it.
   */
  set_by?: string;
}
/**
 * The state of a declared view.
 */
export interface ViewState {
  /**
   * When it got its definition.
   */
  defined_at?: string;
  /**
   * The definition; of a removed view, the last one.
   */
  definition: ViewDefinition;
  /**
   * When it was removed.
   */
  removed_at?: string;
  /**
   * The principal that has defined it.
   */
  set_by?: string;
  /**
   * Where it is.
   */
  status: "defined" | "removed";
}
/**
 * A definition of a declared view.
 */
export interface ViewVersion {
  /**
   * The authenticated sender.
   */
  actor?: string;
  /**
   * The command that caused it.
   */
  command_id: string;
  /**
   * Digest of the event.
   */
  digest: string;
  /**
   * The content was erased.
   */
  erased?: boolean;
  /**
   * When the event was recorded.
   */
  recorded_at: string;
  /**
   * Sequence in the journal partition.
   */
  revision: number;
  /**
   * After the event.
   */
  state?: ViewState;
  /**
   * The writer's time.
   */
  timestamp: string;
  /**
   * Type of the event.
   */
  type: string;
  /**
   * Version of the aggregate.
   */
  version: number;
  /**
   * As the command named it.
   */
  writer: string;
}
/**
 * A page of the history of a declared view.
 */
export interface ViewVersionsAnswer {
  /**
   * Age of a cached answer, in ms.
   */
  age_ms?: number;
  /**
   * Where the next page begins; without it this is the last page.
   */
  cursor?: string;
  /**
   * The view.
   */
  name: string;
  /**
   * Quarantined aggregates that the page may lack.
   */
  quarantined?: string[];
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * Read position of the answer.
   */
  token?: string;
  /**
   * Newest first.
   */
  versions: ViewVersion[];
}
/**
 * A page of declared views.
 */
export interface ViewsAnswer {
  /**
   * Age of a cached answer, in ms.
   */
  age_ms?: number;
  /**
   * Where the next page begins; without it this is the last page.
   */
  cursor?: string;
  /**
   * Quarantined aggregates that the page may lack.
   */
  quarantined?: string[];
  /**
   * Who has answered: memory, kv, sql, journal or cache.
   */
  source: string;
  /**
   * Read position of the answer.
   */
  token?: string;
  /**
   * In the order of their names.
   */
  views: View[];
}
