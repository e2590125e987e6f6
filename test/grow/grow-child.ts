/**
 * Grows a model as a process of its own: SOURCE OUT [BALLAST]. Prints what the test has to know as JSON. With a ballast, a file of
 * this name fills the disk in the middle of the job, and when that has failed, it goes and the job is called again.
 */
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { EspalierError } from '../../src/errors.ts';
import { type GrowOptions, grow } from '../../src/grow.ts';
import { openPath } from '../../src/runtime/files/paths.ts';
import { sums } from '../checkpoint/jobs.ts';

const [source, out, ballast] = process.argv.slice(2) as [string, string, string | undefined];
const print = (value: unknown): void => console.log(JSON.stringify(value));
const options: GrowOptions = { out, target: 'granitemoeshared' };

if (ballast === undefined) {
  const { deviation } = await grow(source, options);
  print({ deviation, bytes: process.resourceUsage().maxRSS * 1024 });
} else {
  await grow(source, { ...options, onProgress: fillAt(0.4) }).catch((error: unknown) => {
    if (!(error instanceof EspalierError)) throw error;
    print({ code: error.code, message: error.message, names: readdirSync(dirname(out)).sort() });
  });
  rmSync(ballast, { force: true });
  let first: number | null = null;
  await grow(source, { ...options, onProgress: ({ done, total }) => void (first ??= done / total) });
  print({ first, names: readdirSync(dirname(out)), sums: await sums({ files: () => openPath(out) }) });
}

function fillAt(share: number): GrowOptions['onProgress'] {
  let full = false;
  return ({ done, total }) => {
    if (full || done / total < share) return;
    full = true;
    try {
      writeFileSync(ballast!, new Uint8Array(256 << 20));
    } catch (error) {
      // as much of it is there as there was room
      if ((error as { code?: unknown }).code !== 'ENOSPC') throw error;
    }
  };
}
