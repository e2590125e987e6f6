/** PyTorch as a rival in training, in a child process that speaks JSON lines: see torch_train.py. */
import { type ChildProcessWithoutNullStreams, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const SCRIPT = fileURLToPath(new URL('torch_train.py', import.meta.url));
const python = (): string => process.env['ESPALIER_PYTHON'] ?? 'python3';

/** Why this rival cannot run, or null. */
export async function available(): Promise<string | null> {
  try {
    await promisify(execFile)(python(), ['-c', 'import torch, transformers, peft, gguf']);
    return null;
  } catch (error) {
    const reason = ((error as { stderr?: string }).stderr || (error as Error).message).trim().split('\n').pop();
    return `PyTorch is not there: pip install torch transformers peft gguf, and set ESPALIER_PYTHON to that python (${reason})`;
  }
}

export interface TorchOptions {
  readonly threads: number;
  /** Rank of LoRA on all linear layers; 0: all parameters are trained. */
  readonly lora: number;
  readonly rate: number;
}

/** One model in training. Every call waits for its answer, so steps can alternate with those of another. */
export class TorchTraining {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: Interface;
  readonly #died: Promise<never>;
  version = '';
  /** Numbers of the model, and those that are trained. */
  parameters = 0;
  trained = 0;
  /** Resident bytes before the model was loaded: Python and its libraries. */
  baseBytes = 0;
  #stderr = '';

  private constructor(threads: number) {
    this.#child = spawn(python(), [SCRIPT], { env: { ...process.env, OMP_NUM_THREADS: String(threads) } });
    this.#child.stdin.on('error', () => {}); // a dead child is reported by #call
    this.#child.stderr.on('data', (text) => {
      this.#stderr = (this.#stderr + text).slice(-2000);
    });
    this.#lines = createInterface(this.#child.stdout);
    this.#died = once(this.#child, 'close').then(() => {
      throw new Error(`PyTorch's process ended: ${this.#stderr}`);
    });
    this.#died.catch(() => {});
  }

  /** A folder as transformers reads it, or a GGUF file, which it turns into f32. */
  static async open(path: string, options: TorchOptions): Promise<TorchTraining> {
    const training = new TorchTraining(options.threads);
    try {
      const reply = await training.#call<{ version: string; parameters: number; trained: number; baseBytes: number }>({
        op: 'load',
        path,
        ...options,
      });
      Object.assign(training, reply);
      return training;
    } catch (error) {
      await training.dispose();
      throw error;
    }
  }

  /** One step on sequences of one length. */
  step(ids: readonly (readonly number[])[]): Promise<{ seconds: number; loss: number }> {
    return this.#call({ op: 'step', ids });
  }

  /** Peak resident bytes of the process so far. */
  async peak(): Promise<number> {
    return (await this.#call<{ bytes: number }>({ op: 'peak' })).bytes;
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
    if (reply.error) throw new Error(`PyTorch: ${reply.error}`);
    return reply as T;
  }
}
