import { EspalierError } from './errors.ts';

/**
 * Where a call opens several of a kind, what one of them throws says which it was: `reference: config.json: the JSON does not parse.`
 * Files that are given as bytes have no path that could tell them apart.
 * @throws as `work`
 */
export async function named<T>(what: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof EspalierError) || error.code === 'E_ABORTED') throw error;
    throw new EspalierError(error.code, `${what}: ${error.message}`, error.hint, { cause: error });
  }
}
