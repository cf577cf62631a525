import type * as wire from "./wire.js";

/** The kinds of errors of the engine. */
export type Kind = wire.ErrorBody["kind"];

/** An answer of the engine that is an error. */
export class TidemarkError extends Error {
  override name = "TidemarkError";

  constructor(
    /** One word for the status: `conflict`, `rejected`, … */
    readonly kind: Kind,
    /** Dotted name: `state.conflict`. */
    readonly code: string,
    /** As in HTTP: 409. */
    readonly status: number,
    message: string,
    /** What the error is about, by code. */
    readonly details: Record<string, unknown> = {},
  ) {
    super(`${code}: ${message}`);
  }
}

/** Says whether an error is one of the engine, of a kind ("conflict") or a code ("state.conflict"). */
export function isError(error: unknown, kindOrCode?: Kind | (string & {})): error is TidemarkError {
  return error instanceof TidemarkError && (kindOrCode === undefined || error.kind === kindOrCode || error.code === kindOrCode);
}

/** The outcome is unknown: the same command id may be sent again. */
export function unanswered(message: string): TidemarkError {
  return new TidemarkError("unavailable", "engine.unanswered", 503, message);
}
