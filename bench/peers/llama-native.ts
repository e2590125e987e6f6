/** Native llama.cpp through llama-cpp-python, in a child process that speaks JSON lines: see llama_native.py. */
import { type ChildProcessWithoutNullStreams, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const SCRIPT = fileURLToPath(new URL('llama_native.py', import.meta.url));
const python = (): string => process.env['ESPALIER_PYTHON'] ?? 'python3';

/** Why this peer cannot run, or null. */
export async function available(): Promise<string | null> {
  try {
    await promisify(execFile)(python(), ['-c', 'import llama_cpp, numpy']);
    return null;
  } catch (error) {
    const reason = ((error as { stderr?: string }).stderr || (error as Error).message).trim().split('\n').pop();
    return `llama-cpp-python is not there: pip install llama-cpp-python numpy, and set ESPALIER_PYTHON to that python (${reason})`;
  }
}

/** One llama.cpp context. Every call waits for its answer, so runs can alternate with other contenders. */
export class LlamaNative {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: Interface;
  readonly #died: Promise<never>;
  #version = '';
  #stderr = '';

  private constructor() {
    this.#child = spawn(python(), [SCRIPT], { env: { ...process.env, OMP_NUM_THREADS: '1' } });
    this.#child.stdin.on('error', () => {}); // a dead child is reported by #call
    this.#child.stderr.on('data', (text) => {
      this.#stderr = (this.#stderr + text).slice(-2000);
    });
    this.#lines = createInterface(this.#child.stdout);
    this.#died = once(this.#child, 'close').then(() => {
      throw new Error(`llama.cpp's process ended: ${this.#stderr}`);
    });
    this.#died.catch(() => {});
  }

  static async open(path: string, options: { context?: number; threads?: number } = {}): Promise<LlamaNative> {
    const engine = new LlamaNative();
    try {
      const reply = await engine.#call<{ version: string }>({
        op: 'load',
        path,
        context: 1024,
        threads: 1,
        ...options,
      });
      engine.#version = `llama-cpp-python ${reply.version}`;
      return engine;
    } catch (error) {
      await engine.dispose();
      throw error;
    }
  }

  get version(): string {
    return this.#version;
  }

  /** Clears the cache and runs all ids; returns the seconds inside llama_decode. */
  async prefill(ids: readonly number[]): Promise<number> {
    return (await this.#call<{ seconds: number }>({ op: 'prefill', ids })).seconds;
  }

  /** Greedy decoding of `n` tokens from where the last call ended; the seconds are those inside llama_decode. */
  decode(n: number): Promise<{ seconds: number; ids: number[] }> {
    return this.#call({ op: 'decode', n });
  }

  /** Logits of the last position. */
  async logits(): Promise<number[]> {
    return (await this.#call<{ logits: number[] }>({ op: 'logits' })).logits;
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
    if (reply.error) throw new Error(`llama.cpp: ${reply.error}`);
    return reply as T;
  }
}
