import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { castBytes } from '../../src/checkpoint/write/source-tensors.ts';
import { writeCheckpoint } from '../../src/checkpoint/write/write-checkpoint.ts';
import { SequenceEncoder } from '../../src/datasets/training/encode.ts';
import { openTrainDevice } from '../../src/device/open-device.ts';
import { EspalierError } from '../../src/errors.ts';
import { ModelText } from '../../src/model/model-text.ts';
import { Tokenizer } from '../../src/model/text/tokenizer.ts';
import { folderOutput } from '../../src/runtime/output/folder.ts';
import { memoryOutput } from '../../src/runtime/output/memory.ts';
import type { OutputFolder } from '../../src/runtime/output/output.ts';
import { DecoderTrainable } from '../../src/train/decoder-trainable.ts';
import { trainingProgress } from '../../src/train/state/progress.ts';
import { checkIdentity, clearStates, States } from '../../src/train/state/states.ts';
import { Trainer, type TrainingProgress } from '../../src/train/trainer.ts';
import { configOf, initialWeights, type Shape } from './initial-model.ts';
import { EVERYONE, type People } from './people.ts';
import { HeldOutTexts, TextSteps } from './text-steps.ts';
import { digestOf } from './texts.ts';
import type { WrittenStories } from './written-stories.ts';

export const DEVICES = ['wasm', 'webgpu'] as const;

export interface Recipe {
  /** Folder of the model; null: it is not kept. */
  readonly out: string | null;
  readonly seed: number;
  /** Who is told of. */
  readonly people: People;
  /** Stories among the texts, beside those of the grammar. */
  readonly stories: WrittenStories;
  readonly lanes: number;
  /** What computes. A training goes on with the kind that it began on. */
  readonly device: (typeof DEVICES)[number];
  readonly steps: number;
  /** Of a step. */
  readonly tokens: number;
  /** Of a text; what is longer is cut into blocks. */
  readonly maxTokens: number;
  readonly rate: number;
  readonly shape: Shape;
  readonly saveEvery: number;
  readonly evaluateEvery: number;
  readonly heldOutTexts: number;
  /** Throws away what an earlier run has left in the folder. */
  readonly restart: boolean;
}

/** Files of nano-base that its tokenizer consists of. */
const TOKENIZER = ['tokenizer.json', 'tokenizer_config.json'] as const;

/**
 * Trains a model from nothing, or goes on with it.
 * @returns the first and the last loss on texts that were held out, in nats a token
 * @throws what training and files throw; E_ABORTED, after its state was kept
 */
export async function pretrain(
  recipe: Recipe,
  signal: AbortSignal,
  tell: (line: string) => void,
): Promise<{ readonly first: number | null; readonly last: number | null }> {
  const { seed, steps } = recipe;
  const mixture = { people: recipe.people, stories: recipe.stories.texts };
  const files = await initialFiles(recipe);
  const out = recipe.out === null ? memoryOutput('model') : await folderOutput(recipe.out);
  const device = await openTrainDevice({ device: recipe.device, lanes: recipe.lanes });
  try {
    const checkpoint = await openCheckpoint(files);
    const spec = await checkpoint.tokenizer();
    const encoder = new SequenceEncoder(new ModelText(checkpoint, spec, Tokenizer.create(spec)), {
      maxTokens: recipe.maxTokens,
    });
    const trainable = await DecoderTrainable.load(device, checkpoint);
    await checkpoint.close();
    const count = trainable.parameters.reduce((sum, own) => sum + own.shape.reduce((a, b) => a * b, 1), 0);
    const where = device.description['adapter'] ?? `${recipe.lanes} lanes`;
    tell(`${(count / 1e6).toFixed(2)} M parameters, ${steps} steps of ${recipe.tokens} tokens, ${where}`);
    const rows = Math.max(recipe.maxTokens, recipe.tokens);
    const source = new TextSteps(encoder, { seed, mixture, tokens: recipe.tokens, rows });
    const heldOut = new HeldOutTexts(encoder, { seed, mixture, rows, texts: recipe.heldOutTexts });
    const identity = await identityOf(recipe);
    const states = new States(out, identity, device.description);
    if (recipe.restart) await clearStates(out);
    const saved = await States.latest(out, trainingProgress);
    if (saved) checkIdentity(saved, identity, out.name);
    const started = performance.now();
    const before = saved?.progress.step ?? 0;
    const trainer: Trainer = new Trainer(
      trainable,
      source,
      heldOut,
      settingsOf(recipe),
      {
        save: (progress) => states.save(trainable, trainer.optimiser, progress),
        onStep: ({ step, losses, rate, tokens }) => {
          if (step % 20 > 0 && step < steps) return;
          const left = ((performance.now() - started) / 1000 / (step - before)) * (steps - step);
          const loss = losses.crossEntropy.toFixed(3);
          tell(
            `step ${step}/${steps}  loss ${loss}  rate ${rate.toExponential(1)}  ${tokens} tokens  ${Math.ceil(left / 60)} min left`,
          );
        },
        onHeldOut: ({ step, loss }) => tell(`held out after ${step} steps: ${loss.toFixed(4)}`),
      },
      saved?.progress,
    );
    if (saved) {
      await states.restore(saved, trainable, trainer.optimiser);
      tell(`goes on after ${before} steps`);
    }
    const progress = await trainer.run(signal);
    if (recipe.out !== null) {
      await writeModel(out, trainable, files, recipe);
      await clearStates(out);
      await out.commit();
      tell(`written to ${recipe.out}; ${rateOf(progress)} tokens a second`);
    } else await out.discard();
    return { first: progress.heldOut[0]?.loss ?? null, last: progress.heldOut.at(-1)?.loss ?? null };
  } catch (error) {
    await out.release();
    if (error instanceof EspalierError && error.code === 'E_ABORTED') tell('kept; start it again to go on');
    throw error;
  } finally {
    device.close();
  }
}

/** What decides the result. As it was before there was a choice, where none was made: a training that was begun then goes on. */
async function identityOf({ out: _, lanes: __, restart: ___, device, people, stories, ...own }: Recipe) {
  const options = {
    ...own,
    ...(device !== 'wasm' && { device }),
    ...(people.count !== EVERYONE.count && { people: people.count }),
    ...(people.neverTenth && { neverTenth: true }),
  };
  const texts = await digestOf(own.seed, { people, stories: stories.texts });
  const data = stories.digest === '' ? texts : `${texts} ${stories.digest}`;
  return { options, model: `initial ${own.seed}`, data };
}

const rateOf = ({ tokens, seconds }: TrainingProgress): number => Math.round(tokens / seconds);

/** AdamW with a cosine behind a warm-up of 2 %, as nanoGPT and its like have it. */
function settingsOf({ rate, steps, saveEvery, evaluateEvery, out }: Recipe) {
  return {
    schedule: { kind: 'cosine', peak: rate, warmup: Math.max(10, Math.round(0.02 * steps)), steps },
    beta1: 0.9,
    beta2: 0.95,
    epsilon: 1e-8,
    weightDecay: 0.1,
    clip: 1,
    freeze: [],
    balance: 0,
    z: 0,
    divergence: 0,
    recompute: false,
    evaluateEvery,
    patience: null,
    saveEvery: out === null ? 0 : saveEvery,
  } as const;
}

async function initialFiles({ shape, seed }: Recipe): Promise<Record<string, Uint8Array>> {
  const { readFile } = await import('node:fs/promises');
  const read = async (name: string) => [
    name,
    new Uint8Array(await readFile(new URL(`../../models/nano-base/${name}`, import.meta.url))),
  ];
  return {
    'config.json': new TextEncoder().encode(JSON.stringify(configOf(shape), null, 1)),
    'model.safetensors': initialWeights(shape, seed),
    ...Object.fromEntries(await Promise.all(TOKENIZER.map(read))),
  };
}

/** Weights in bf16, configuration and tokenizer. */
async function writeModel(
  out: OutputFolder,
  trainable: DecoderTrainable,
  files: Record<string, Uint8Array>,
  { shape }: Recipe,
): Promise<void> {
  const { device, parameters } = trainable;
  const groups = parameters.map(({ name, shape: own, value }) => ({
    name,
    tensors: [
      {
        name,
        type: 'bf16' as const,
        shape: own,
        async *bytes() {
          yield castBytes((await device.read(value)) as Float32Array, 'bf16', name);
        },
      },
    ],
  }));
  await writeCheckpoint(out, groups, { identity: 'pretrained', restart: true });
  const config = JSON.stringify({ ...configOf(shape), torch_dtype: 'bfloat16' }, null, 1);
  await out.writeBytes('config.json', new TextEncoder().encode(config));
  for (const name of TOKENIZER) await out.writeBytes(name, files[name]!);
}
