/** Matrix units of a GPU (`chromium-experimental-subgroup-matrix`): what is asked for, and which are there. */
import type { GpuTraits } from './kernel.ts';

/** What a device must have for them; `subgroups` is asked for in any case. */
export const MATRIX_FEATURES = ['shader-f16', 'chromium-experimental-subgroup-matrix'] as const;

/** One multiplication of the units: [m, k] · [k, n] of f16, summed in f32 by a subgroup of `lanes`. */
export interface MatrixShape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly lanes: number;
}

/** Of what an adapter has and its device was asked for; null: none that sum f16 in f32. */
export function matrixShapeOf(adapter: GPUAdapterInfo | undefined, traits: GpuTraits): MatrixShape | null {
  const lanes = traits.subgroupSize;
  if (lanes === 0 || !MATRIX_FEATURES.every((name) => traits.features.has(name))) return null;
  const { subgroupMatrixConfigs = [] } = (adapter ?? {}) as { subgroupMatrixConfigs?: Iterable<MatrixConfig> };
  let best: MatrixShape | null = null;
  for (const { componentType, resultComponentType, M: m, N: n, K: k } of subgroupMatrixConfigs) {
    if (componentType !== 'f16' || resultComponentType !== 'f32' || n % 4 !== 0 || k % 8 !== 0) continue;
    if (!best || m * n * k > best.m * best.n * best.k) best = { m, n, k, lanes };
  }
  return best;
}

/** As Dawn has it: not among the types of WebGPU yet. */
interface MatrixConfig {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}
