/** Writes a checkpoint as a process of its own. Arguments: what is to happen, and where. Prints what the test has to know as JSON. */
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeCheckpoint } from '../../src/checkpoint/write/write-checkpoint.ts';
import type { EspalierError } from '../../src/errors.ts';
import { folderOutput } from '../../src/runtime/output/folder.ts';
import { job, sums } from './jobs.ts';
import { KILLED, LARGE } from './writer-jobs.ts';

const [what, path] = process.argv.slice(2) as [string, string];
const print = (value: unknown): void => console.log(JSON.stringify(value));
const failed = (error: unknown): void => print({ code: (error as EspalierError).code, message: `${error}` });

/** Slowly, until the test ends it. */
async function write(): Promise<void> {
  const out = await folderOutput(path);
  const { groups } = job(KILLED.seed, KILLED.groups, async () => {
    await new Promise((resolve) => setTimeout(resolve, 1));
  });
  print('begins');
  await writeCheckpoint(out, groups, { ...KILLED.options, syncInterval: 20 });
  await out.commit();
  print('done');
}

/** In a folder of a few megabytes, which somebody else fills meanwhile. */
async function full(): Promise<void> {
  const ballast = join(path, 'ballast');
  const target = join(path, 'model');
  const fill = async (): Promise<void> => {
    await writeFile(ballast, new Uint8Array(64 << 20)).catch(() => {});
  };
  for (const filler of [{ begin: fill }, {}]) {
    const out = await folderOutput(target);
    const { groups } = job(LARGE.seed, LARGE.groups);
    const own = groups.map((group, g) => (g === 30 ? { ...group, ...filler } : group));
    try {
      const { resumedGroups } = await writeCheckpoint(out, own, LARGE.options);
      print({ resumedGroups, sums: await sums(out) });
      await out.commit();
    } catch (error) {
      failed(error);
      await out.release();
    }
    await rm(ballast, { force: true });
    print(await readdir(path));
  }
}

/** Until a limit for the size of files. */
async function limited(): Promise<void> {
  const out = await folderOutput(path);
  await writeCheckpoint(out, job(LARGE.seed, LARGE.groups).groups, LARGE.options).then(() => print('done'), failed);
  await out.release();
}

async function open(): Promise<void> {
  await folderOutput(path).then(() => print('opened'), failed);
}

await { write, full, limited, open }[what]!();
