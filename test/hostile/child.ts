/**
 * Takes hostile models by number, one after the other, through everything that a user does with one, and prints a line of JSON for each.
 *
 * usage: node --expose-gc --import tsx test/hostile/child.ts FROM COUNT
 */

import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { EspalierError } from '../../src/errors.ts';
import { openLocal } from '../../src/open-local.ts';
import { hostile } from './generate.ts';
import type { Outcome } from './run.ts';

const TEXT = `${'a'.repeat(40)} Hello, world! bbbbbbbb ${'x'.repeat(30)} 12345 ÄÖ\u{1F600}\n\t  <|end|> ${'ab'.repeat(20)}`;

async function use(files: Record<string, Uint8Array>, device: WasmDevice): Promise<string> {
  const model = await openLocal(files, { device });
  try {
    const ids = model.encode(TEXT).filter((id) => id < model.config.vocabSize);
    for (const id of ids) if (!Number.isSafeInteger(id) || id < 0) throw new Error(`id ${id}`);
    model.tokenizer.decode(ids);
    let code = 'opens';
    try {
      model.encodeChat([
        { role: 'user', content: 'Hi' },
        { role: 'assistant', content: 'Ho' },
        { role: 'user', content: TEXT },
      ]);
    } catch (error) {
      if (!(error instanceof EspalierError)) throw error;
      code = `opens, ${error.code}`;
    }
    const few = ids.slice(0, Math.min(16, model.config.maxPositions - 4));
    if (few.length === 0) return code;
    const scored = await model.score(few);
    for (const { logprob, entropy } of scored.slice(1))
      if (!(logprob! <= 1e-3) || !(entropy >= -1e-3)) throw new Error(`scores ${logprob} ${entropy}`);
    const { tokens } = await model.generate(few, { maxTokens: 3, stopAtEos: false }).result();
    for (const { logprob } of tokens) if (!(logprob <= 1e-3)) throw new Error(`generates ${logprob}`);
    const [vector] = await model.embed(few);
    if (!vector!.every(Number.isFinite)) throw new Error('embeds no numbers');
    return code;
  } finally {
    model.close();
  }
}

const [from, count] = process.argv.slice(2).map(Number) as [number, number];
const device = await WasmDevice.create();
let highest = 0;
// what the first model costs is the program's own
await use(await import('../engine/tiny-model.ts').then((m) => m.tinyFiles()), device);
for (let seed = from; seed < from + count; seed++) {
  const { what, files } = await hostile(seed);
  const bytes = Object.values(files).reduce((sum, { byteLength }) => sum + byteLength, 0);
  (globalThis as { gc?: () => void }).gc?.();
  const before = process.memoryUsage.rss();
  highest = process.resourceUsage().maxRSS * 1024;
  process.stdout.write(`${JSON.stringify({ seed, what })}\n`);
  const cpu = process.cpuUsage();
  let end: string;
  try {
    end = await use(files, device);
  } catch (error) {
    end = error instanceof EspalierError ? error.code : `!! ${(error as Error).stack}`;
  }
  const { user, system } = process.cpuUsage(cpu);
  const peak = process.resourceUsage().maxRSS * 1024;
  const outcome: Outcome = {
    seed,
    what,
    end,
    bytes,
    seconds: (user + system) / 1e6,
    // a mark that stays where it was says nothing of this one
    memory: peak > highest ? peak - before : 0,
    peak,
  };
  process.stdout.write(`${JSON.stringify(outcome)}\n`);
}
device.close();
