/** Native llama.cpp through llama-cpp-python, in a child process that speaks JSON lines: see llama_native.py. */
import { PythonChild, unavailable } from './python.ts';

/** Why this peer cannot run, or null. */
export const available = (): Promise<string | null> =>
  unavailable('llama-cpp-python', { imports: 'llama_cpp, numpy', packages: 'llama-cpp-python numpy' });

/** One llama.cpp context. Every call waits for its answer, so runs can alternate with other contenders. */
export class LlamaNative {
  readonly #child: PythonChild;
  #version = '';

  private constructor() {
    this.#child = new PythonChild('llama.cpp', 'llama_native.py', { OMP_NUM_THREADS: '1' });
  }

  static async open(path: string, options: { context?: number; threads?: number } = {}): Promise<LlamaNative> {
    const engine = new LlamaNative();
    try {
      const reply = await engine.#child.call<{ version: string }>({
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
    return (await this.#child.call<{ seconds: number }>({ op: 'prefill', ids })).seconds;
  }

  /** Greedy decoding of `n` tokens from where the last call ended; the seconds are those inside llama_decode. */
  decode(n: number): Promise<{ seconds: number; ids: number[] }> {
    return this.#child.call({ op: 'decode', n });
  }

  /** Logits of the last position. */
  async logits(): Promise<number[]> {
    return (await this.#child.call<{ logits: number[] }>({ op: 'logits' })).logits;
  }

  dispose(): Promise<void> {
    return this.#child.dispose();
  }
}
