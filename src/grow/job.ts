import { TensorDigests } from '../checkpoint/identity.ts';
import { projectionName } from '../checkpoint/layer-tensors.ts';
import { openCheckpointFiles } from '../checkpoint/open.ts';
import type { Checkpoint } from '../checkpoint/types.ts';
import { checkSource, jobIdentity, withSource } from '../checkpoint/write/job-identity.ts';
import { writeJson, writeSmallFiles, writeText } from '../checkpoint/write/small-files.ts';
import { decodedTensor } from '../checkpoint/write/source-tensors.ts';
import { begunAs, planShards, writeCheckpoint } from '../checkpoint/write/write-checkpoint.ts';
import type { DigitDevice } from '../device/digit-device.ts';
import type { ExactDevice } from '../device/exact-device.ts';
import { chosenDevice, jobDevice, nameOf, openDigitDevice, openExactDevice } from '../device/open-device.ts';
import { EspalierError, throwIfAborted } from '../errors.ts';
import { checked } from '../options/check.ts';
import { type ModelTarget, openModelFiles } from '../runtime/files/model-files.ts';
import type { ModelFiles } from '../runtime/files/source.ts';
import { jobLanes } from '../runtime/host/lane-count.ts';
import { outputOf } from '../runtime/output/options.ts';
import type { OutputFolder } from '../runtime/output/output.ts';
import { LinearAlgebra } from '../svd/linear-algebra.ts';
import { growLayer } from './methods/layer.ts';
import { checkComponents } from './methods/partition.ts';
import { checkRouter } from './methods/router-init.ts';
import { type GrowOptions, type GrowProgress, growOptions, type PlanGrowOptions, planGrowOptions } from './options.ts';
import { checkDevice, type Estimate, estimate, isSpectral } from './plan/estimate.ts';
import { type Fit, fitTarget } from './plan/fit.ts';
import { chosenLayers, expertSizes, groupsOf } from './plan/layer-choice.ts';
import { type GrowRecipe, growRecipe } from './plan/options.ts';
import { resolveOptions } from './plan/recipe.ts';
import type { GrowPlan } from './types.ts';
import { measureDeviation } from './verify/measure-deviation.ts';
import { Copies } from './write/copies.ts';
import { type GroupRecord, outputGroups } from './write/layout.ts';
import { configText, type ExpertSizes, outputConfig } from './write/output-config.ts';
import { RECEIPT_VERSION, type Receipt, receiptOf } from './write/receipt.ts';

export const RECEIPT_FILE = 'espalier-receipt.json';

/** What will be written, before anything is. */
export interface PlannedGrowth extends Estimate {
  readonly plan: GrowPlan;
  readonly fit: Fit;
  readonly sizes: ExpertSizes;
  readonly parameters: number;
  readonly activeParameters: number;
  readonly bytes: number;
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
  /** Bytes free at the destination, where the host says. */
  readonly freeBytes: number | null;
}

/** In the order of the identities of a job. */
const KINDS = ['wasm', 'webgpu'] as const;

interface Job {
  readonly files: ModelFiles;
  readonly checkpoint: Checkpoint;
  readonly plan: GrowPlan;
  readonly fit: Fit;
  readonly sizes: ExpertSizes;
}

/**
 * Sizes, time and memory of a job, from the headers of the source alone.
 * @throws as `grow` for what can be found before work begins
 */
export async function planGrow(
  source: ModelTarget,
  given: PlanGrowOptions & { readonly out?: string | URL | OutputFolder } = {},
): Promise<PlannedGrowth> {
  const options = checked<typeof given>(planGrowOptions, given, 'planGrow');
  const job = await prepare(source, options);
  let out: OutputFolder | null = null;
  try {
    out = options.out === undefined ? null : await outputOf(options.out);
    return await describe(job, options, out);
  } finally {
    // an output of the caller’s own stays his
    if (out !== options.out) await out?.release();
    await job.checkpoint.close();
  }
}

/**
 * Grows a dense model into a mixture of experts (SPRI, arXiv 2606.16456, or a baseline) and writes it as a checkpoint that stock loaders
 * accept, layer by layer: memory stays below what the largest layer takes. A job that was interrupted goes on where it was when it is
 * called again with the same arguments, and its result is the same to the bit, for any number of lanes and in every runtime. With
 * `device: 'webgpu'` a GPU computes the heavy products, and the result has other last bits; a job goes on with the kind of device that it was begun on.
 *
 * @returns the receipt, which also lies in the folder as `espalier-receipt.json`
 * @throws E_ARGUMENT for options out of range; E_TARGET when the target cannot hold the result exactly; E_STORAGE_FULL before work
 *   begins and later, E_FILE_WRITE; E_TENSOR_VALUE for NaN in the source; what opening the source throws; E_DEVICE_UNSUPPORTED without a GPU where one is asked
 *   for, E_DEVICE_LOST; E_OUT_OF_MEMORY, E_ABORTED.
 *   What is finished stays for the next call; nothing has its final name before all of it is written
 */
export async function grow(source: ModelTarget, given: GrowOptions): Promise<Receipt> {
  const options = checked<GrowOptions>(growOptions, given, 'grow');
  if (options.out === undefined) {
    throw new EspalierError('E_ARGUMENT', 'There is no out to write to.', "Give a folder, or memoryOutput('result').");
  }
  throwIfAborted(options.signal);
  const job = await prepare(source, options);
  const { checkpoint, plan, fit, sizes } = job;
  let out: OutputFolder | null = null;
  let device: ExactDevice | null = null;
  let gpu = null as DigitDevice | null;
  try {
    out = await outputOf(options.out);
    const lanes = await jobLanes(options.lanes);
    const { wasmLocation } = options;
    device = await openExactDevice({
      lanes,
      ...(wasmLocation === undefined ? {} : { wasmLocation: new URL(wasmLocation) }),
    });
    const receipt = await write(job, options, out, device);
    await out.commit();
    return receipt;
  } catch (error) {
    // what went wrong first is what is told
    await out?.release().catch(() => {});
    throw error;
  } finally {
    gpu?.close();
    device?.close();
    await checkpoint.close();
  }

  async function write(
    { files }: Job,
    { signal, onProgress, restart, maxShardBytes, verify = true, device: kind }: GrowOptions,
    to: OutputFolder,
    on: ExactDevice,
  ): Promise<Receipt> {
    const algebra = LinearAlgebra.over(on);
    const { hiddenSize: hidden, intermediateSize: intermediate, headDim } = checkpoint.config;
    const copies = new Copies(fit.type, { headDim, signal });
    const digests = new TensorDigests(checkpoint);
    const groups = outputGroups({
      checkpoint: digests.checkpoint,
      fit,
      sizes,
      copies,
      grow: (layer) =>
        growLayer({
          device: on,
          algebra,
          gpu,
          plan,
          layer,
          hidden,
          intermediate,
          renormalise: fit.renormalise,
          read: (projection) => {
            const entry = digests.checkpoint.tensors.get(projectionName(layer, projection))!;
            return decodedTensor(entry, { headDim, signal });
          },
          ...(signal && { signal }),
        }),
    });
    const told = { plan, fit, maxShardBytes: maxShardBytes ?? null, receipt: RECEIPT_VERSION };
    const identities = {
      wasm: await jobIdentity(checkpoint, told),
      webgpu: await jobIdentity(checkpoint, { ...told, device: 'webgpu' }),
    };
    const begun = restart ? null : await begunAs(to, groups, Object.values(identities), { maxShardBytes });
    const asked = await chosenDevice(kind);
    // without products of its own a method comes to the CPU's bits, whatever is asked for
    const isNothing = !isSpectral(plan) && asked !== 'wasm';
    const chosen = isSpectral(plan) ? await jobDevice(kind, null, begun === null ? null : KINDS[begun]!) : 'wasm';
    if (chosen !== 'wasm') gpu = await openDigitDevice(chosen);
    const pace = new Timer('growing', onProgress);
    const written = await writeCheckpoint(to, withSource(groups, digests), {
      onResume: (records) => checkSource(records, digests, checkpoint.name, signal),
      identity: identities[nameOf(chosen)],
      ...(signal && { signal }),
      ...(restart === undefined ? {} : { restart }),
      ...(maxShardBytes === undefined ? {} : { maxShardBytes }),
      onProgress: (done, total) => pace.update(done, total),
    });
    await writeText(to, 'config.json', configText(outputConfig(checkpoint.config, fit, plan, sizes)));
    await writeSmallFiles(checkpoint, files, to);
    const timer = new Timer('verifying', onProgress);
    const deviation =
      verify === false
        ? null
        : await measureDeviation(on, checkpoint, await to.files(), {
            text: verify === true ? null : verify,
            signal,
            onProgress: (fraction) => timer.update(fraction, 1),
          }).catch(async (error) => {
            // what was written may have been changed by somebody else, and then that is what is wrong
            await to.check();
            throw error;
          });
    const receipt = receiptOf({
      checkpoint,
      plan,
      fit,
      sizes,
      device: nameOf(chosen),
      notes: isNothing ? ['This method has nothing to decompose, so nothing was left to the GPU.'] : [],
      files: written.files,
      records: written.records as readonly GroupRecord[],
      deviation,
    });
    await writeJson(to, RECEIPT_FILE, receipt);
    return receipt;
  }
}

/** Of a job's options those of what is grown. */
function planOf(options: PlanGrowOptions): GrowPlan {
  const names = Object.keys(growRecipe) as (keyof GrowRecipe)[];
  return resolveOptions(Object.fromEntries(names.map((name) => [name, options[name]])));
}

async function prepare(source: ModelTarget, options: PlanGrowOptions): Promise<Job> {
  const plan = planOf(options);
  const files = await openModelFiles(source, options);
  const checkpoint = await openCheckpointFiles(files, { signal: options.signal });
  try {
    const { config } = checkpoint;
    const stored = checkpoint.tensors.get(projectionName(0, 'down'))?.type;
    if (stored === undefined && config.moe === null) {
      throw new EspalierError('E_TENSOR_MISSING', 'The checkpoint has no feed-forward layers.', 'Get the whole model.');
    }
    const gguf = options.gguf ?? options.preset === 'gguf-safe';
    const fit = fitTarget(config, stored ?? 'f32', plan, chosenLayers(plan.layers, config.nLayers), { gguf });
    const sizes = expertSizes(plan, config.intermediateSize);
    if (plan.method === 'spri') {
      const blocks = groupsOf(plan.experts, plan.groupSize).length - 1;
      checkComponents(Math.min(config.hiddenSize, config.intermediateSize), plan.partition, blocks);
    }
    checkRouter(plan, sizes.experts, config.hiddenSize);
    checkDevice({ config, plan, fit, sizes, bytes: 0, lanes: 1, verify: options.verify !== false });
    return { files, checkpoint, plan, fit, sizes };
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}

async function describe(job: Job, options: PlanGrowOptions, out: OutputFolder | null): Promise<PlannedGrowth> {
  const { checkpoint, plan, fit, sizes } = job;
  const { config } = checkpoint;
  const copies = new Copies(fit.type, { headDim: config.headDim });
  const never = () => Promise.reject(new Error('nothing is grown for a plan'));
  const groups = outputGroups({ checkpoint, fit, sizes, copies, grow: never });
  const count = (shape: readonly number[]) => shape.reduce((product, n) => product * n, 1);
  const parameters = groups.flatMap(({ tensors }) => tensors).reduce((sum, { shape }) => sum + count(shape), 0);
  const idle = fit.layers.length * (sizes.experts - plan.topK) * 3 * sizes.expertSize * config.hiddenSize;
  const files = planShards(groups, options.maxShardBytes).map(({ name, bytes }) => ({ name, bytes }));
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const lanes = await jobLanes(options.lanes);
  const gpu = (await chosenDevice(options.device)) !== 'wasm';
  return {
    plan,
    fit,
    sizes,
    parameters,
    activeParameters: parameters - idle,
    bytes,
    files,
    freeBytes: (await out?.free()) ?? null,
    ...estimate({ config, plan, fit, sizes, bytes, lanes, gpu, verify: options.verify !== false }),
  };
}

/** Progress with the time that is left at the pace so far. */
class Timer {
  readonly #stage: GrowProgress['stage'];
  readonly #report: ((progress: GrowProgress) => void) | undefined;
  readonly #started = performance.now();
  #from: number | null = null;

  constructor(stage: GrowProgress['stage'], report: ((progress: GrowProgress) => void) | undefined) {
    this.#stage = stage;
    this.#report = report;
  }

  update(done: number, total: number): void {
    // what an earlier run had done says nothing of the pace
    this.#from ??= done;
    const seconds = (performance.now() - this.#started) / 1000;
    const gained = done - this.#from;
    const secondsLeft = gained > 0 && seconds > 0.5 ? (seconds * (total - done)) / gained : null;
    this.#report?.({ stage: this.#stage, done, total, secondsLeft });
  }
}
