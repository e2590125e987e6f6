import { writeAdapter } from '../../checkpoint/adapter/write.ts';
import type { Checkpoint } from '../../checkpoint/types.ts';
import type { OutputType } from '../../checkpoint/write/shards.ts';
import { configText, writeSmallFiles, writeText } from '../../checkpoint/write/small-files.ts';
import { planShards, writeCheckpoint } from '../../checkpoint/write/write-checkpoint.ts';
import { EspalierError } from '../../errors.ts';
import type { ByteSource, ModelFiles } from '../../runtime/files/source.ts';
import { isState, type OutputFolder } from '../../runtime/output/output.ts';
import type { LoraFactors } from '../lora-factors.ts';
import type { TrainPlan } from '../plan/recipe.ts';
import { TRAINING_JOB } from '../state/earlier.ts';
import type { Trainable } from '../trainable.ts';
import { modelTensors } from './model-tensors.ts';

export interface ResultOptions {
  readonly files: ModelFiles;
  readonly checkpoint: Checkpoint;
  readonly trainable: Trainable;
  /** Of an adapter. */
  readonly factors: LoraFactors | null;
  readonly plan: TrainPlan;
  readonly dtype: 'auto' | OutputType;
  /** What decides the content: a result that was begun under another one is begun anew. */
  readonly identity: string;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Writes what was trained: a model as its source lies in its folder, or an adapter in PEFT's format.
 * @throws E_TENSOR_VALUE for weights that the type cannot hold; E_STORAGE_FULL, E_FILE_WRITE, E_ABORTED
 */
export async function writeResult(out: OutputFolder, options: ResultOptions): Promise<void> {
  const { files, checkpoint, trainable, factors, plan, dtype, identity, signal, onProgress } = options;
  if (factors && plan.lora) {
    const { alpha, rslora } = plan.lora;
    await writeAdapter(out, {
      config: checkpoint.config,
      base: checkpoint.name,
      factors: await factors.written(trainable.device),
      alpha,
      rslora,
      type: dtype === 'auto' ? 'f32' : dtype,
    });
    return;
  }
  const opened: ByteSource[] = [];
  try {
    const groups = await modelTensors({ files, checkpoint, trainable, dtype, signal }, opened);
    await writeCheckpoint(out, groups, {
      identity: `${identity} ${dtype}`,
      job: TRAINING_JOB,
      keeps: isState,
      signal,
      onProgress,
    });
  } finally {
    for (const source of opened) await source.close();
  }
  await writeText(out, 'config.json', await configText(files, dtype === 'auto' ? undefined : dtype));
  await writeSmallFiles(checkpoint, files, out);
}

/** Whether a result of this kind can be written at all, before anything is trained. @throws E_TARGET */
export function checkResult({ name, format }: Checkpoint, { lora }: TrainPlan): void {
  if (lora !== null || format === 'safetensors') return;
  throw new EspalierError(
    'E_TARGET',
    `${name} is a GGUF file; what is trained as a whole is written as safetensors with the source's config.json.`,
    'Train the model that it was made from, or an adapter (LoRA).',
  );
}

/** Bytes of the result, about. */
export async function sizeOfResult(options: Omit<ResultOptions, 'identity' | 'factors'>): Promise<number> {
  const { trainable, dtype, plan } = options;
  if (plan.lora) {
    const width = dtype === 'auto' || dtype === 'f32' ? 4 : 2;
    return trainable.parameters.reduce((sum, { shape }) => sum + width * shape[0]! * shape[1]!, 0);
  }
  const opened: ByteSource[] = [];
  try {
    return planShards(await modelTensors(options, opened)).reduce((sum, { bytes }) => sum + bytes, 0);
  } finally {
    for (const source of opened) await source.close();
  }
}
