/** How many aggregates have a token of their own. A read of another one takes the joined token. */
const remembered = 4096;

/** The read positions that a client has seen. */
export class Tokens {
  #joined = "";
  #of = new Map<string, string>();

  /** Notes the token of an answer about an aggregate ("" = about several). */
  saw(aggregate: string, token: string | undefined): void {
    if (!token) return;
    this.#joined = join(this.#joined, token);
    if (!aggregate) return;
    if (this.#of.size >= remembered) this.#of.clear();
    this.#of.set(aggregate, join(this.#of.get(aggregate) ?? "", token));
  }

  /** The token that a read of the aggregate must have reached ("" = of several). */
  reached(aggregate: string): string {
    return this.#of.get(aggregate) ?? this.#joined;
  }

  /** Drops all tokens: the journal is another one. */
  forget(): void {
    this.#joined = "";
    this.#of.clear();
  }
}

/**
 * The token that has reached both: the higher revision of each partition. Tokens of two
 * journals cannot be joined; the later one counts.
 */
export function join(old: string, token: string): string {
  const [before, ...kept] = old.split(".");
  const [journal, ...parts] = token.split(".");
  if (!old || journal !== before) return token;
  const highest = new Map<number, bigint>();
  for (const part of [...kept, ...parts]) {
    const [partition, revision] = part.split("-");
    const p = Number(partition), r = BigInt(revision ?? 0);
    if (r > (highest.get(p) ?? -1n)) highest.set(p, r);
  }
  return [journal, ...[...highest].sort((a, b) => a[0] - b[0]).map(([p, r]) => `${p}-${r}`)].join(".");
}
