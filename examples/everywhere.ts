/**
 * One program, unchanged in Node, Deno and browsers: it opens `nano-base`, and a second model when one is named, and prints 48
 * greedy tokens of each with the entropies, in nats, of the predictions that they were drawn from. It prints the same everywhere;
 * entropies differ by less than 1e-4, because engines round differently. (The precision is exact: `int8` differs by more between
 * processors.)
 *
 *   Node       npm run build && node dist/examples/everywhere.js [MODEL]
 *              node --import tsx examples/everywhere.ts [MODEL]
 *   Deno       deno run -A examples/everywhere.ts [MODEL]        (after npm ci && npm run build, for the packages and kernels)
 *   browsers   npm run build, serve the folder of the checkout, and open examples/everywhere.html[?model=ADDRESS]
 *
 * MODEL is a path or address; a folder's address ends with a slash.
 */
import { open } from '../src/index.ts';

const { process, location, document } = globalThis as {
  process?: { argv: string[] };
  location?: { search: string; href: string };
  document?: { body: { append(text: string): void } };
};

function print(line: string): void {
  console.log(line);
  document?.body.append(`${line}\n`);
}

async function tell(target: string | URL): Promise<void> {
  const model = await open(target, { precision: 'exact' });
  const { text, tokens } = await model.generate('Once upon a time', { maxTokens: 48, stopAtEos: false }).result();
  print(`model ${model.name.replace(/\/$/, '').split('/').pop()}`);
  print(`text ${JSON.stringify(text)}`);
  print(`tokens ${tokens.map((token) => token.id).join(' ')}`);
  print(`entropies ${tokens.map((token) => token.entropy.toFixed(5)).join(' ')}`);
  await model.close();
}

// from the sources, or from dist/
const root = new URL(import.meta.url.includes('/dist/') ? '../../' : '../', import.meta.url);
const given = process ? process.argv[2] : new URLSearchParams(location!.search).get('model');

await tell(new URL('models/nano-base/', root));
if (given) await tell(process ? given : new URL(given, location!.href));
print('done');
