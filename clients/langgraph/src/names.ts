import { createHash } from "node:crypto";

/** The hash of a text or of bytes in 20 characters (120 bits) of `[A-Za-z0-9_-]`. */
export function hash(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("base64url").slice(0, 20);
}

/**
 * A text as one token of an id or a key: as it is if it is short and plain, else `_` and its
 * hash. Two texts never share a token: a plain one has no `_`.
 */
export function token(text: string, longest = 40): string {
  return text.length <= longest && /^[A-Za-z0-9-]+$/.test(text) ? text : "_" + hash(text);
}
