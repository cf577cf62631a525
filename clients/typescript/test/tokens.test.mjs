import assert from "node:assert/strict";
import { test } from "node:test";
import { join } from "../dist/tokens.js";

test("join", () => {
  for (const [old, token, want] of [
    ["", "j.0-5", "j.0-5"],
    ["j.0-5", "j.0-3", "j.0-5"],
    ["j.0-5", "j.0-12", "j.0-12"],
    ["j.0-5.2-7", "j.1-1.2-6", "j.0-5.1-1.2-7"],
    ["j.0-5", "k.0-1", "k.0-1"],
  ]) assert.equal(join(old, token), want);
});
