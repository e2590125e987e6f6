/** Jobs of training on small models, into memory. */
import { type MemoryOutput, memoryOutput } from '../../src/runtime/output/memory.ts';
import { type PlanTrainOptions, type TrainOptions, type TrainReceipt, train } from '../../src/train.ts';
import { bytesOf, LINES } from './texts.ts';

export const data = bytesOf(LINES);
export const BASE: Omit<PlanTrainOptions, 'cache' | 'device'> = {
  data,
  format: 'lines',
  maxTokens: 48,
  batch: 4,
  lanes: 1,
  seed: 3,
};
export const FULL: typeof BASE = { ...BASE, full: true, learningRate: 3e-3, heldOut: 0.2, steps: 8 };
export const LORA: typeof BASE = { ...BASE, lora: { rank: 4 }, learningRate: 1e-2, heldOut: 0.2, steps: 8 };

/** Trains into memory. */
export async function run(
  files: Record<string, Uint8Array | Blob>,
  options: Partial<TrainOptions>,
  out: MemoryOutput = memoryOutput('out'),
): Promise<{ readonly receipt: TrainReceipt; readonly files: Record<string, Blob> }> {
  const receipt = await train(files, { saveEvery: 3, ...options, out } as TrainOptions);
  return { receipt, files: out.result() };
}
