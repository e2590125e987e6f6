import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

/** Where the real models and reference outputs lie, beside the project; tests skip, saying so, without them. */
export const shared = fileURLToPath(new URL('../../../shared/', import.meta.url));

/** A JSON file of that folder (or its `.gz`), or null with a printed line. */
// biome-ignore lint/suspicious/noExplicitAny: the shape is the test's business
export function sharedJson(path: string): any {
  for (const name of [path, `${path}.gz`]) {
    if (!existsSync(shared + name)) continue;
    const bytes = readFileSync(shared + name);
    return JSON.parse((name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8'));
  }
  console.log(`  skipped: shared/${path} is not there`);
  return null;
}

// biome-ignore lint/suspicious/noExplicitAny: the shape is the test's business
export function fixture(name: string): any {
  return JSON.parse(readFileSync(new URL(`../fixtures/${name}`, import.meta.url), 'utf8'));
}
