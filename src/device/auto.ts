/** What `device: 'auto'` is. */
import { CROSSOVER, type Crossover, looksForGpu, type Work } from './crossover.ts';
import { loadGpu } from './webgpu/load.ts';

/** The device for some work. No GPU is looked for, and nothing loaded for it, where none would be chosen. */
export async function autoDevice(work: Work, crossover: Crossover = CROSSOVER): Promise<'wasm' | 'webgpu'> {
  if (crossover[work.task] === null || work.parameters < crossover[work.task]!) return 'wasm';
  if (!looksForGpu()) return 'wasm';
  const { findAdapter, adapterFacts, choose } = await loadGpu();
  const adapter = await findAdapter();
  return choose(work, adapter && adapterFacts(adapter), crossover).device;
}

/** Of the tensors of a checkpoint. */
export function parametersIn(tensors: Iterable<{ readonly shape: readonly number[] }>): number {
  let sum = 0;
  for (const { shape } of tensors) sum += shape.reduce((product, n) => product * n, 1);
  return sum;
}
