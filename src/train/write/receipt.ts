import type { Checkpoint } from '../../checkpoint/types.ts';
import type { CurveData } from '../curve.ts';
import type { ResolvedPlan, TrainRecipe } from '../plan/recipe.ts';
import type { DataFacts } from '../prepare.ts';
import type { HeldOutLoss, TrainingProgress } from '../trainer.ts';

/** Lies beside what was trained. */
export const TRAINING_FILE = 'espalier-training.json';

/** A model that a job read, the same wherever it lies. */
export interface SourceFacts {
  readonly name: string;
  readonly format: 'safetensors' | 'gguf';
  readonly architecture: string;
  readonly bytes: number;
  /** Of all bytes that were read of it. */
  readonly digest: string;
}

/** What can be known of a training afterwards. */
export interface TrainReceipt {
  readonly receipt: 'espalier-train';
  readonly version: 1;
  /** What was trained. */
  readonly source: SourceFacts;
  /** Digest of the reference, where there is one. */
  readonly reference: string | null;
  readonly data: DataFacts;
  readonly options: ResolvedPlan;
  /** Of the weights that were written. */
  readonly dtype: NonNullable<TrainRecipe['dtype']>;
  /** Those that were done: fewer than the options say where patience has ended it. */
  readonly steps: number;
  /** Rows that went through the model, and those of them that were learned. */
  readonly tokens: number;
  readonly targets: number;
  /** Parameters that were trained. */
  readonly parameters: number;
  /** Cross-entropy in nats a target. `heldOut` is that of the weights that were written; null: nothing is held out. */
  readonly loss: { readonly first: number; readonly last: number; readonly heldOut: number | null };
  readonly curve: CurveData;
  readonly heldOut: readonly HeldOutLoss[];
  /** Of work, in all runs together. */
  readonly seconds: number;
  /** Most bytes on the device, in the last run. */
  readonly peakBytes: number;
  /** What computed it. */
  readonly device: Readonly<Record<string, string>>;
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
}

export function receiptOf(facts: {
  readonly checkpoint: Checkpoint;
  readonly digest: string;
  readonly reference: string | null;
  readonly data: DataFacts;
  readonly plan: ResolvedPlan;
  readonly dtype: TrainReceipt['dtype'];
  readonly parameters: number;
  readonly progress: TrainingProgress;
  readonly peakBytes: number;
  readonly device: TrainReceipt['device'];
  readonly files: TrainReceipt['files'];
}): TrainReceipt {
  const { checkpoint, digest, reference, data, plan, dtype, parameters, progress, peakBytes, device, files } = facts;
  const { best } = progress;
  const last = progress.heldOut.at(-1) ?? null;
  return {
    receipt: 'espalier-train',
    version: 1,
    source: sourceFacts(checkpoint, digest),
    reference,
    data,
    options: plan,
    dtype,
    steps: progress.step,
    tokens: progress.tokens,
    targets: progress.targets,
    parameters,
    loss: {
      first: progress.firstLoss!,
      last: progress.lastLoss!,
      heldOut: (plan.patience === null ? last : best)?.loss ?? null,
    },
    curve: progress.curve,
    heldOut: progress.heldOut,
    seconds: progress.seconds,
    peakBytes,
    device,
    files,
  };
}

export function sourceFacts(checkpoint: Checkpoint, digest: string): SourceFacts {
  const { format, config, byteLength: bytes } = checkpoint;
  return { name: sourceName(checkpoint), format, architecture: config.architecture, bytes, digest };
}

/** What a model is called, the same wherever it lies. */
export function sourceName({ name }: Pick<Checkpoint, 'name'>): string {
  return name.split(/[/\\]/).filter(Boolean).at(-1) ?? name;
}
