/** LAPACK (SciPy with OpenBLAS, one thread) in a child process that speaks JSON lines: see lapack.py. */
import { PythonChild, unavailable } from './python.ts';

/** Why this peer cannot run, or null. */
export const available = (): Promise<string | null> =>
  unavailable('SciPy', { imports: 'scipy.linalg', packages: 'scipy' });

export interface Run {
  /** Inside the LAPACK call. */
  seconds: number;
  /** Largest first. */
  values: number[];
}

export class Lapack {
  readonly #child: PythonChild;
  version = '';

  constructor() {
    const threads = { OPENBLAS_NUM_THREADS: '1', OMP_NUM_THREADS: '1', MKL_NUM_THREADS: '1' };
    this.#child = new PythonChild('SciPy', 'lapack.py', threads);
  }

  async load(name: string, a: Float64Array, rows: number, columns: number): Promise<void> {
    const data = Buffer.from(a.buffer, a.byteOffset, a.byteLength).toString('base64');
    this.version = (await this.#child.call<{ version: string }>({ op: 'load', name, rows, columns, data })).version;
  }

  svd(name: string, single = false): Promise<Run> {
    return this.#child.call({ op: 'svd', name, single });
  }

  eigh(name: string): Promise<Run> {
    return this.#child.call({ op: 'eigh', name });
  }

  dispose(): Promise<void> {
    return this.#child.dispose();
  }
}
