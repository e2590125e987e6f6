/** LAPACK (SciPy with OpenBLAS, one thread) in a child process that speaks JSON lines: see lapack.py. */
import { type ChildProcessWithoutNullStreams, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const SCRIPT = fileURLToPath(new URL('lapack.py', import.meta.url));
const python = (): string => process.env['ESPALIER_PYTHON'] ?? 'python3';

/** Why this peer cannot run, or null. */
export async function available(): Promise<string | null> {
  try {
    await promisify(execFile)(python(), ['-c', 'import scipy.linalg']);
    return null;
  } catch (error) {
    const reason = ((error as { stderr?: string }).stderr || (error as Error).message).trim().split('\n').pop();
    return `SciPy is not there: pip install scipy, and set ESPALIER_PYTHON to that python (${reason})`;
  }
}

export interface Run {
  /** Inside the LAPACK call. */
  seconds: number;
  /** Largest first. */
  values: number[];
}

export class Lapack {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: Interface;
  readonly #died: Promise<never>;
  #stderr = '';
  version = '';

  constructor() {
    const threads = { OPENBLAS_NUM_THREADS: '1', OMP_NUM_THREADS: '1', MKL_NUM_THREADS: '1' };
    this.#child = spawn(python(), [SCRIPT], { env: { ...process.env, ...threads } });
    this.#child.stdin.on('error', () => {}); // a dead child is reported by #call
    this.#child.stderr.on('data', (text) => {
      this.#stderr = (this.#stderr + text).slice(-2000);
    });
    this.#lines = createInterface(this.#child.stdout);
    this.#died = once(this.#child, 'close').then(() => {
      throw new Error(`SciPy's process ended: ${this.#stderr}`);
    });
    this.#died.catch(() => {});
  }

  async load(name: string, a: Float64Array, rows: number, columns: number): Promise<void> {
    const data = Buffer.from(a.buffer, a.byteOffset, a.byteLength).toString('base64');
    this.version = (await this.#call<{ version: string }>({ op: 'load', name, rows, columns, data })).version;
  }

  svd(name: string, single = false): Promise<Run> {
    return this.#call({ op: 'svd', name, single });
  }

  eigh(name: string): Promise<Run> {
    return this.#call({ op: 'eigh', name });
  }

  async dispose(): Promise<void> {
    this.#child.stdin.end();
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
  }

  async #call<T>(request: object): Promise<T> {
    const answer = once(this.#lines, 'line');
    this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    const [line] = (await Promise.race([answer, this.#died])) as [string];
    const reply = JSON.parse(line);
    if (reply.error) throw new Error(`SciPy: ${reply.error}`);
    return reply as T;
  }
}
