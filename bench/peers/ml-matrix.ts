/** ml-matrix, the most used linear algebra library in plain JavaScript. */
import { readFile } from 'node:fs/promises';

interface Decomposition {
  readonly diagonal: number[];
}
interface Library {
  Matrix: { from1DArray(rows: number, columns: number, data: ArrayLike<number>): unknown };
  SVD: new (a: unknown, options: { autoTranspose: boolean }) => Decomposition;
}

const load = async (): Promise<Library> => (await import('ml-matrix' as string)) as Library;

/** Why this peer cannot run, or null. */
export async function available(): Promise<string | null> {
  try {
    await load();
    return null;
  } catch {
    return 'ml-matrix is not there: npm ci in bench/peers';
  }
}

export async function version(): Promise<string> {
  const file = new URL('node_modules/ml-matrix/package.json', import.meta.url);
  return `ml-matrix ${JSON.parse(await readFile(file, 'utf8')).version}`;
}

/** A thin SVD with both sides of vectors; `run` returns the singular values. */
export async function svd(a: Float64Array, rows: number, columns: number): Promise<{ run(): number[] }> {
  const { Matrix, SVD } = await load();
  const matrix = Matrix.from1DArray(rows, columns, a);
  return { run: () => new SVD(matrix, { autoTranspose: true }).diagonal };
}
