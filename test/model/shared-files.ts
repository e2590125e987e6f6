import { exists, readJson } from '../files.ts';

/** Where the real models and reference outputs lie, beside the project; tests skip, saying so, without them. */
export const shared = '../shared/';

/** A JSON file of that folder (or its `.gz`), or null with a printed line. */
// biome-ignore lint/suspicious/noExplicitAny: the shape is the test's business
export async function sharedJson(path: string): Promise<any> {
  for (const name of [path, `${path}.gz`]) if (await exists(shared + name)) return readJson(shared + name);
  console.log(`  skipped: shared/${path} is not there`);
  return null;
}

// biome-ignore lint/suspicious/noExplicitAny: the shape is the test's business
export function fixture(name: string): Promise<any> {
  return readJson(`test/fixtures/${name}`);
}
