/** PyTorch as a rival in training, in a child process that speaks JSON lines: see torch_train.py. */
import { PythonChild, unavailable } from './python.ts';

/** Why this peer cannot run, or null. */
export const available = (): Promise<string | null> =>
  unavailable('PyTorch', { imports: 'torch, transformers, peft, gguf', packages: 'torch transformers peft gguf' });

export interface TorchOptions {
  readonly threads: number;
  /** Rank of LoRA on all linear layers; 0: all parameters are trained. */
  readonly lora: number;
  readonly rate: number;
}

/** One model in training. Every call waits for its answer, so steps can alternate with those of another. */
export class TorchTraining {
  readonly #child: PythonChild;
  version = '';
  /** Numbers of the model, and those that are trained. */
  parameters = 0;
  trained = 0;
  /** Resident bytes before the model was loaded: Python and its libraries. */
  baseBytes = 0;

  private constructor(threads: number) {
    this.#child = new PythonChild('PyTorch', 'torch_train.py', { OMP_NUM_THREADS: String(threads) });
  }

  /** A folder as transformers reads it, or a GGUF file, which it turns into f32. */
  static async open(path: string, options: TorchOptions): Promise<TorchTraining> {
    const training = new TorchTraining(options.threads);
    try {
      const reply = await training.#child.call<{
        version: string;
        parameters: number;
        trained: number;
        baseBytes: number;
      }>({
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
    return this.#child.call({ op: 'step', ids });
  }

  /** Peak resident bytes of the process so far. */
  async peak(): Promise<number> {
    return (await this.#child.call<{ bytes: number }>({ op: 'peak' })).bytes;
  }

  dispose(): Promise<void> {
    return this.#child.dispose();
  }
}
