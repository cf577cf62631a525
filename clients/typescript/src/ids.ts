import { randomBytes } from "node:crypto";

const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/**
 * Makes a command id: a ULID. An id may be given to several attempts of the same command,
 * over restarts of the program too; the command then takes effect once.
 */
export function newId(): string {
  let bits = BigInt(Date.now()) << 80n;
  for (const byte of randomBytes(10).entries()) bits |= BigInt(byte[1]) << BigInt(8 * byte[0]);
  let id = "";
  for (let i = 0; i < 26; i++, bits >>= 5n) id = alphabet[Number(bits & 31n)] + id;
  return id;
}
