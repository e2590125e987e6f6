/** Models that unlearn, as contenders: each can be trained with looks between, and given as files that anyone opens. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { adapterFiles, tensorFile } from '../src/checkpoint/adapter/write.ts';
import { openCheckpoint } from '../src/checkpoint/open.ts';
import { type DataSource, openTrainingData, type TrainingData } from '../src/datasets/training/data.ts';
import { SequenceEncoder } from '../src/datasets/training/encode.ts';
import type { TrainingSequence } from '../src/datasets/training/types.ts';
import type { TrainDevice } from '../src/device/train-device.ts';
import type { LocalModel } from '../src/model/model.ts';
import { openLocal } from '../src/open-local.ts';
import type { Candidate } from '../src/prune/choice/choice.ts';
import { otherAnswers } from '../src/prune/data/other-answers.ts';
import type { UnlearningOptions } from '../src/prune/edit/unlearn-options.ts';
import { Unlearning } from '../src/prune/edit/unlearning.ts';
import { DecoderReference } from '../src/train/decoder-reference.ts';
import { DecoderTrainable } from '../src/train/decoder-trainable.ts';
import { LoraFactors } from '../src/train/lora-factors.ts';
import type { Snapshot } from './unlearn-measure.ts';

/** @param look `answer`: the probability of answers to be forgotten, as it was seen last; `candidates`: of ALTER, what its choice goes by */
export type OnLook = (look: {
  readonly epoch: number;
  readonly answer: number | null;
  readonly candidates?: readonly Candidate[];
}) => Promise<'end' | undefined>;

export interface Unlearner {
  /** Parameters that are trained. */
  readonly trained: number;
  /** @returns what the method itself would leave, where it chooses */
  run(onLook: OnLook): Promise<Candidate | null>;
  /** As it stands now. @param strength of experts, where there are some */
  snapshot(strength?: number): Promise<Snapshot>;
  dispose(): Promise<void>;
}

export interface Sets {
  /** JSON lines with question and answer. */
  readonly forget: DataSource;
  readonly retain: DataSource;
}

/** As TOFU's questions are put to a base model. */
export const FORM = { format: 'jsonl', prompt: 'Question: {question}\nAnswer:', answer: ' {answer}' } as const;

interface Opened {
  /** The model as it was: the reference of a loss, what the gate reads, and whose tokens all are made of. */
  readonly frozen: LocalModel;
  readonly data: Readonly<Record<keyof Sets, TrainingData>>;
  readonly encoder: SequenceEncoder;
  readonly sequences: Readonly<Record<keyof Sets, TrainingSequence[]>>;
  dispose(): Promise<void>;
}

async function open(model: string, sets: Sets, device: TrainDevice): Promise<Opened> {
  const frozen = await openLocal(model, { device, precision: 'exact' });
  const encoder = new SequenceEncoder(frozen);
  const [forget, retain] = [await openTrainingData(sets.forget, FORM), await openTrainingData(sets.retain, FORM)];
  const all = async (data: TrainingData): Promise<TrainingSequence[]> => {
    const list: TrainingSequence[] = [];
    for (const index of data.train) list.push(...(await encoder.encode(await data.read(index))));
    return list;
  };
  const dispose = async () => {
    await forget.close();
    await retain.close();
    frozen.close();
  };
  const sequences = { forget: await all(forget), retain: await all(retain) };
  return { frozen, data: { forget, retain }, encoder, sequences, dispose };
}

const ADAPTER = { rslora: false, targets: null } as const;
export const count = (list: readonly { readonly shape: readonly number[] }[]): number =>
  list.reduce((sum, { shape }) => sum + shape.reduce((n, size) => n * size, 1), 0);

/** Another method: all weights, or with a rank a LoRA adapter of alpha = 2 rank on all linear layers. @param options with the device, which stays the caller's, and texts for IdkDPO */
export async function openRival(
  model: string,
  sets: Sets,
  options: UnlearningOptions & {
    readonly rank: number;
    readonly device: TrainDevice;
    readonly idk: readonly string[];
  },
): Promise<Unlearner> {
  const { rank, device, idk: texts, ...rest } = options;
  const opened = await open(model, sets, device);
  const { frozen, data, encoder, sequences } = opened;
  const alpha = 2 * rank;
  const factors =
    rank > 0 ? new LoraFactors(device, frozen.config, { rank, alpha, seed: rest.seed ?? 0, ...ADAPTER }) : null;
  const checkpoint = await openCheckpoint(model);
  const trainable = await DecoderTrainable.load(device, checkpoint, {
    reference: new DecoderReference(frozen.decoder),
    ...(factors && { adapter: factors, trainable: () => false }),
  });
  const missing = [...checkpoint.tensors.keys()].find((name) => !trainable.parameters.some((own) => own.name === name));
  await checkpoint.close();
  if (!factors && (missing !== undefined || frozen.config.normOffset !== 0)) {
    throw new Error(`${model} cannot be written from what is trained of it: ${missing ?? 'its norms have an offset'}.`);
  }
  const idk: TrainingSequence[][] = [];
  if (rest.method === 'idk-dpo') {
    for (const index of data.forget.train) {
      idk.push(await otherAnswers(encoder, await data.forget.read(index), texts));
    }
  }
  let look: OnLook | null = null;
  const run = new Unlearning(trainable, { ...sequences, idk }, rest, { onLook: (own) => look!(own) });
  return {
    trained: count(run.parameters),
    run: async (onLook) => {
      look = onLook;
      await run.run();
      return null;
    },
    snapshot: async () => {
      if (factors) {
        const written = { config: frozen.config, base: null, factors: await factors.written(device), alpha };
        const files = adapterFiles({ ...written, rslora: false });
        return { target: model, adapters: [{ from: Object.fromEntries(files) }] };
      }
      const tensors = [];
      for (const { name, shape, value } of trainable.parameters) {
        tensors.push({ name, shape, type: 'f32' as const, values: (await device.read(value)) as Float32Array });
      }
      const files: Record<string, Uint8Array> = { 'model.safetensors': tensorFile(tensors) };
      for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json']) {
        files[name] = await readFile(join(model, name));
      }
      return { target: files, adapters: [] };
    },
    dispose: async () => {
      run.dispose();
      trainable.dispose();
      await opened.dispose();
    },
  };
}
