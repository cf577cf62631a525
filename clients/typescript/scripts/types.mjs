// Writes src/wire.ts from the JSON Schemas in docs/reference/schemas (npm run types).
// With --check it compares. The directory of the schemas may be given as an argument.
import { readFile, readdir, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { compile } from "json-schema-to-typescript";

const here = dirname(fileURLToPath(import.meta.url));
const args = process.argv.slice(2);
const check = args.includes("--check");
const schemas = resolve(args.find((a) => !a.startsWith("--")) ?? join(here, "../../../docs/reference/schemas"));
const target = join(here, "../src/wire.ts");

const names = (await readdir(schemas)).filter((f) => /^[A-Z]/.test(f)).sort();
const $defs = {};
const local = (value) => {
  if (Array.isArray(value)) return value.map(local);
  if (value === null || typeof value !== "object") return value;
  const all = Object.fromEntries(Object.entries(value).map(([k, v]) => [k, local(v)]));
  const typed = ["type", "$ref", "anyOf", "allOf", "const", "enum", "properties"].some((k) => k in all);
  if (!typed && typeof all.description === "string") all.tsType = "unknown"; // any value
  if (typeof all.$ref === "string") all.$ref = `#/$defs/${all.$ref.replace(/\.json$/, "")}`;
  return all;
};
for (const file of names) {
  const { $schema, $id, ...schema } = JSON.parse(await readFile(join(schemas, file), "utf8"));
  $defs[file.replace(/\.json$/, "")] = local(schema);
}
const root = { title: "Wire", type: "object", additionalProperties: false, $defs, properties: {}, required: Object.keys($defs) };
for (const name of Object.keys($defs)) root.properties[name] = { $ref: `#/$defs/${name}` };
let text = await compile(root, "Wire", {
  additionalProperties: false,
  style: { printWidth: 140 },
  bannerComment: "// Generated from docs/reference/schemas by npm run types. Do not edit.",
});
text = text.replace(/\nexport interface Wire \{[^]*?\n\}\n/, "\n").trimEnd() + "\n"; // it only held the others together

if (!check) await writeFile(target, text);
else if ((await readFile(target, "utf8").catch(() => "")) !== text) {
  console.error("src/wire.ts is not what docs/reference/schemas say: run npm run types (make reference)");
  process.exit(1);
}
