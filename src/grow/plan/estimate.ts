import type { ModelConfig } from '../../checkpoint/types.ts';
import { EspalierError } from '../../errors.ts';
import type { GrowPlan } from '../types.ts';
import { PROBES, sampledEntries } from '../verify/diversity.ts';
import type { ExpertSizes } from '../write/output-config.ts';
import type { Fit } from './fit.ts';
import { isCorrection } from './rules.ts';

/** What a job will take. Time is a rough guess: operations by the rates of one Zen 3 core in plain SIMD, bytes by those of a disk. */
export interface Estimate {
  readonly seconds: number;
  /** Most bytes of memory that the process holds, the runtime's own (Node, with a worker) included. */
  readonly memoryBytes: number;
  /** Whether both models are compared in the end, as `verify` says: that takes memory and time of its own. */
  readonly verify: boolean;
}

export interface EstimateOptions {
  readonly config: ModelConfig;
  readonly plan: GrowPlan;
  readonly fit: Fit;
  readonly sizes: ExpertSizes;
  /** Bytes that are written in all. */
  readonly bytes: number;
  readonly lanes: number;
  /** Whether Gram matrices and slices are a GPU's, whose speed nobody knows: they are not counted. Default false. */
  readonly gpu?: boolean;
  readonly verify: boolean;
}

/** Operations a second of one lane: f64 decompositions, f32 products; random numbers and bytes a second. */
const EIGEN = 4e9;
const PRODUCTS = 35e9;
const GRAM = 15e9;
const NORMALS = 2.5e8;
const BYTES = 4e8;
/** More lanes help products and random numbers, decompositions little. */
const SPEEDUP = 0.8;

const MIB = 2 ** 20;
/** Where 32-bit addresses end. */
const MOST = 2 ** 32;
/** A process of Node 20 that grows next to nothing, and each lane beside the first: code, stacks, heaps of their own. */
const RUNTIME = 131 * MIB;
const LANE = 12 * MIB;
/**
 * What lies about of buffers that are no longer used. While layers are made: V8 begins to collect them at 64 MiB, and in a small job
 * there are never so many. While models are compared, the larger the pieces are, the more: measured.
 */
const garbageOfGrowing = (used: number): number => Math.min(68 * MIB, 1.8 * used);
const garbageOfComparing = (used: number): number => 36 * MIB + 0.11 * used;
/** A copy of a tensor up to this size is kept while its layer is written (`copies.ts`). */
const KEPT = 32 * MIB;
/** Tokens that are compared, rows of their logits at a time, and basis vectors of a product. */
const TOKENS = 256;
const ROWS = 16;
const STEP = 256;

export function estimate(options: EstimateOptions): Estimate {
  return { seconds: secondsOf(options), memoryBytes: Math.round(memoryOf(options)), verify: options.verify };
}

function secondsOf({ config, plan, fit, sizes, bytes, lanes, gpu = false, verify }: EstimateOptions): number {
  const { hiddenSize: d, intermediateSize: m, vocabSize, nLayers } = config;
  const n = Math.min(d, m);
  const matrix = d * m;
  const layers = fit.layers.length;
  const parts = plan.method === 'spri' || plan.method === 'scaled-copy' ? plan.placement.length : 3;
  const speed = 1 + SPEEDUP * (lanes - 1);
  const products = isSpectral(plan) && !gpu ? (4 * n * n * Math.max(d, m)) / PRODUCTS / speed : 0;
  const gram = gpu ? 0 : (n * n * Math.max(d, m)) / GRAM / speed;
  const decomposition = isSpectral(plan) ? gram + (9 * n ** 3) / EIGEN : 0;
  const normals = (sizes.experts * matrix) / NORMALS / speed;
  // both models over the text, of the grown one the experts that tokens use, and its files read again
  const active =
    2 * (nLayers * (4 * d * d + 3 * matrix) + vocabSize * d) + layers * plan.topK * 3 * d * sizes.expertSize;
  const compared = verify ? (2 * TOKENS * active) / PRODUCTS / speed + bytes / BYTES : 0;
  return layers * parts * (decomposition + products + normals) + bytes / BYTES + compared;
}

/** The WebAssembly memory never shrinks; what JavaScript holds beside it while growing is free again while comparing. */
function memoryOf(options: EstimateOptions): number {
  const [device, own] = growing(options);
  let peak = device + own + garbageOfGrowing(device + own);
  if (options.verify) {
    const [deviceThen, ownThen] = comparing(options);
    const used = Math.max(device, deviceThen) + ownThen;
    peak = Math.max(peak, used + garbageOfComparing(used));
  }
  return RUNTIME + LANE * (options.lanes - 1) + peak;
}

/** @throws E_OUT_OF_MEMORY where a job would run out of WebAssembly memory after hours of work */
export function checkDevice(options: EstimateOptions): void {
  const [grown] = growing(options);
  const [compared] = options.verify ? comparing(options) : [0];
  if (Math.max(grown, compared) <= MOST) return;
  const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  throw new EspalierError(
    'E_OUT_OF_MEMORY',
    `${grown > MOST ? 'Growing a layer' : 'Comparing the models in the end'} would take ${gib(Math.max(grown, compared))} of WebAssembly memory, which ends at ${gib(MOST)}.`,
    grown > MOST
      ? 'Place fewer projections (`placement`), or choose a smaller model.'
      : 'Leave out the comparison (in a program `verify` false, at the command line --no-verify), or take fewer `experts`.',
  );
}

/** Bytes on the device and in JavaScript's arrays while a layer is made. */
function growing({ config, plan, fit, sizes }: EstimateOptions): [device: number, own: number] {
  const { hiddenSize: d, intermediateSize: m } = config;
  const [n, far] = d < m ? [d, m] : [m, d];
  const matrix = 4 * d * m;
  const { experts, expertSize } = sizes;
  const width = fit.type === 'f32' ? 4 : 2;
  const kept = width * d * m <= KEPT ? 3 * width * d * m : 0;
  const corrections = isCorrection(plan.method);
  // of each expert: samples, and silu(gate) · up of the inputs, where its gate or up is its own; of all: those of the dense one
  const made = corrections ? plan.placement.some((projection) => projection !== 'down') : plan.method !== 'naive';
  const measured = 4 * experts * sampledEntries(experts) + 4 * PROBES * (3 * m + (made ? 3 * experts * expertSize : 0));
  const scratch = 4 * STEP * far + 4 * STEP * n + 8 * MIB;
  const placed = plan.placement.length;
  if (isSpectral(plan)) {
    // W, a slice and the basis of each placed projection; the eigensolver beside those before
    const held = 2 * matrix + 4 * n * n;
    const solver = 8 * (4 * n * n + 320 * n + 20_000);
    // W, its Gram matrix, the vectors in f64 and f32
    const decomposed = matrix + 20 * n * n;
    return [
      Math.max((placed - 1) * held + solver, placed * held + scratch),
      Math.max(decomposed, matrix + measured + kept),
    ];
  }
  if (corrections) return [placed * matrix + scratch, matrix + measured + kept];
  return [scratch, (plan.method === 'naive' ? 1 : 3) * matrix + matrix + measured + kept];
}

/** The same while the grown model is read again: a layer with its experts, the embedding and the output matrix, and the text's logits. */
function comparing({ config, plan, fit, sizes }: EstimateOptions): [device: number, own: number] {
  const { hiddenSize: d, intermediateSize: m, vocabSize, nHeads, nKvHeads, headDim, nLayers } = config;
  const width = fit.type === 'f32' ? 4 : 2;
  const matrices = config.tiedEmbeddings && !fit.untie ? 1 : 2;
  const attention = 2 * d * headDim * (nHeads + nKvHeads);
  const experts = 3 * d * (sizes.experts * sizes.expertSize + sizes.sharedSize);
  const layer = attention + Math.max(experts, fit.layers.length < nLayers ? 3 * d * m : 0);
  const slots = TOKENS * plan.topK;
  const states = 4 * TOKENS * (5 * d + 2 * headDim * (nHeads + nKvHeads) + 2 * m + 2 * sizes.sharedSize);
  const chosen = 8 * slots * (d + sizes.expertSize);
  const cache = 8 * TOKENS * nLayers * nKvHeads * headDim;
  const device = width * (matrices * vocabSize * d + layer) + states + chosen + cache + 4 * ROWS * vocabSize + 16 * MIB;
  return [device, 4 * vocabSize * (TOKENS + 2 * ROWS)];
}

/** Whether there is something to decompose, and so products that a GPU may compute. */
export function isSpectral({ method, partition }: GrowPlan): boolean {
  return method === 'spri' && partition !== 'none';
}
