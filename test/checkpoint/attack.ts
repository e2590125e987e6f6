import * as assert from 'uvu/assert';
import { openCheckpointFiles } from '../../src/checkpoint/open.ts';
import { type ErrorCode, EspalierError } from '../../src/errors.ts';
import { countedFiles, type GgufSpec, gguf, json, tinyConfig, tinyGgufSpec } from './build.ts';

/**
 * Broken and malicious files. Each must end in an `EspalierError` with the code that fits (or, for random damage, open as the
 * sound file it still is), soon, and without a buffer beyond the file's own size (`countedFiles` watches every read).
 */

export type Folder = Record<string, Uint8Array>;
export type Expected = ErrorCode | readonly ErrorCode[] | 'any';

/** Milliseconds: several times what any of them takes, and far below what it takes to count to 2^40. */
const MAX_MS = 2000;
/** The system may put a thread aside for long, but hardly again and again. */
const TRIES = 5;
const tally = new Map<string, number>();
let slowest = 0;

export async function attack(what: string, content: Folder, expected: Expected): Promise<void> {
  let took = Number.POSITIVE_INFINITY;
  let code = '';
  for (let tries = 0; tries < TRIES && took > MAX_MS; tries++) {
    const start = performance.now();
    code = await opened(what, content, expected);
    took = Math.min(took, performance.now() - start);
  }
  slowest = Math.max(slowest, took);
  assert.ok(took < MAX_MS, `${what}: took ${took} ms`);
  if (expected !== 'any') {
    const allowed = typeof expected === 'string' ? [expected] : expected;
    assert.ok(allowed.includes(code as ErrorCode), `${what}: ${code} instead of ${allowed.join(' or ')}`);
  }
  tally.set(code, (tally.get(code) ?? 0) + 1);
}

/** How opening it ended: the code of the error, or `opens`. */
async function opened(what: string, content: Folder, expected: Expected): Promise<string> {
  const files = countedFiles(content);
  let code = 'opens';
  try {
    const checkpoint = await openCheckpointFiles(files);
    // the vocabulary of a GGUF is untrusted as well
    if (checkpoint.format === 'gguf') await checkpoint.tokenizer();
    await checkpoint.close();
  } catch (error) {
    if (!(error instanceof EspalierError)) assert.unreachable(`${what}: ${(error as Error).stack}`);
    else {
      assert.ok(error.message !== '' && error.hint !== '', `${what}: no message`);
      code = error.code;
      if (expected !== 'any') assert.ok(error.message.length < 2000, `${what}: endless message`);
    }
    if (code !== 'E_TOKENIZER_INVALID') assert.ok(files.closed(), `${what}: a file stays open`);
  }
  assert.ok(
    files.largestRead() <= Math.max(...Object.values(content).map((file) => file.length)),
    `${what}: allocates`,
  );
  return code;
}

/** mulberry32: the same damage in each run. */
export function generator(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export const withConfig = (file: Uint8Array): Folder => ({
  'config.json': json(tinyConfig),
  'model.safetensors': file,
});
export const truncated = ['E_CHECKPOINT_TRUNCATED'] as const;

/** The tiny GGUF with something changed. */
export const ggufFile = (change: (spec: GgufSpec) => void): Folder => {
  const spec = tinyGgufSpec();
  change(spec);
  return { 'x.gguf': gguf(spec) };
};

/** Prints how many attacks ended how. */
export function printTally(atLeast: number): void {
  const total = [...tally.values()].reduce((a, b) => a + b, 0);
  console.log(`  ${total} hostile files, slowest ${slowest.toFixed(1)} ms`);
  for (const [code, count] of [...tally].sort()) console.log(`    ${code}: ${count}`);
  assert.ok(total >= atLeast);
}
