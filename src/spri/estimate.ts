import type { ModelConfig } from '../checkpoint/types.ts';
import type { ExpertSizes } from './output-config.ts';
import type { GrowPlan } from './types.ts';

/** What a job will take. Time is a rough guess: operations by the rates of one Zen 3 core in plain SIMD, bytes by those of a disk. */
export interface Estimate {
  readonly seconds: number;
  /** Bytes of memory that growing takes beside the runtime's own. */
  readonly memoryBytes: number;
}

/** Operations a second of one lane: f64 decompositions, f32 products; random numbers and bytes a second. */
const EIGEN = 4e9;
const PRODUCTS = 35e9;
const GRAM = 15e9;
const NORMALS = 2.5e8;
const BYTES = 4e8;
/** More lanes help products and random numbers, decompositions little. */
const SPEEDUP = 0.8;

/** @param bytes that are written in all */
export function estimate(
  config: ModelConfig,
  plan: GrowPlan,
  layers: number,
  sizes: ExpertSizes,
  bytes: number,
  lanes: number,
): Estimate {
  const { hiddenSize: d, intermediateSize: m } = config;
  const n = Math.min(d, m);
  const matrix = d * m;
  const spectral = plan.method === 'spri' && plan.partition !== 'none';
  const parts = plan.method === 'spri' || plan.method === 'scaled-copy' ? plan.placement.length : 3;
  const speed = 1 + SPEEDUP * (lanes - 1);
  const decomposition = spectral ? (n * n * Math.max(d, m)) / GRAM / speed + (9 * n ** 3) / EIGEN : 0;
  const products = spectral ? (4 * n * n * Math.max(d, m)) / PRODUCTS / speed : 0;
  const normals = (sizes.experts * matrix) / NORMALS / speed;
  const seconds = layers * parts * (decomposition + products + normals) + bytes / BYTES;
  // eigensolver beside what it gives, W and R, pieces on their way to the disk
  const memoryBytes = (spectral ? 5 * 8 * n * n : 0) + 3 * 4 * matrix + 64 * 2 ** 20;
  return { seconds, memoryBytes };
}
