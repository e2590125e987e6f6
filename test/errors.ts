/** Expected errors by their stable code. */
import * as assert from 'uvu/assert';
import type { EspalierError } from '../src/errors.ts';

/** For `assert.throws`. */
export const code = (want: string) => (error: EspalierError) => error.code === want;

/** The error, so that a test can look at its message. */
export async function rejects(want: string, run: () => unknown): Promise<EspalierError> {
  try {
    await run();
  } catch (error) {
    assert.is((error as EspalierError).code, want, `${error}`);
    return error as EspalierError;
  }
  return assert.unreachable(`no ${want}`) as never;
}
