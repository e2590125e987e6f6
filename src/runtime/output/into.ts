import { outputOf } from './options.ts';
import type { OutputFolder } from './output.ts';

/**
 * Does a job into an output, and commits it. Where the job or the commit fails, what was written stays for a later run, and what went wrong first is
 * what is told.
 * @throws as `outputOf`, `run` and `OutputFolder.commit`
 */
export async function intoOutput<T>(
  to: string | URL | OutputFolder,
  run: (out: OutputFolder) => Promise<T>,
): Promise<T> {
  const out = await outputOf(to);
  try {
    const result = await run(out);
    await out.commit();
    return result;
  } catch (error) {
    await out.release().catch(() => {});
    throw error;
  }
}

/**
 * The same of a job that is done in a moment: where it fails nothing of it stays.
 * @param ready makes the output ready: what it throws leaves there what is there
 */
export async function intoOutputAtOnce<T>(
  to: string | URL | OutputFolder,
  ready: (out: OutputFolder) => Promise<void>,
  run: (out: OutputFolder) => Promise<T>,
): Promise<T> {
  return intoOutput(to, async (out) => {
    await ready(out);
    try {
      return await run(out);
    } catch (error) {
      await out.discard().catch(() => {});
      throw error;
    }
  });
}
