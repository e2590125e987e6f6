import type { DataSource } from '../../datasets/source.ts';
import { type TrainOptions, trainThereOptions } from '../../engine/train/options.ts';
import { EspalierError } from '../../errors.ts';
import { type Rule, refusal, words } from '../../options/rules.ts';
import { freezeRule, loraRule, trainRecipe } from '../../train/plan/recipe.ts';
import type { ArgumentSpecs, Values } from './command.ts';
import { dataArguments, dataOptionsOf, OF_DATA, OF_PROGRAMS, sequenceOptionsOf } from './data-flags.ts';
import { deviceFlag, optionFlags } from './flags.ts';
import { number, written } from './written.ts';

const flags = optionFlags<TrainOptions>(trainThereOptions, {
  out: { value: 'FOLDER', description: 'The folder to write, which must not exist or be empty', unless: 'dry-run' },
  full: { description: 'Train all weights; the result is a model' },
  lora: null, // below
  steps: { value: 'N', description: 'Steps of the optimiser' },
  epochs: { value: 'N', description: 'How often all examples are seen (default 1, without --steps)' },
  batch: { value: 'N', description: 'Sequences of a step' },
  rows: { value: 'N', description: 'Most tokens that go through the model together; more takes memory (default 2048)' },
  shuffle: { description: 'An order of its own for each epoch (the default)', negative: 'The order of the files' },
  learningRate: null, // --lr
  schedule: { value: 'NAME', description: 'How the rate falls: linear, cosine or constant' },
  warmup: { value: 'N', description: 'Steps in which the rate rises, or below 1 a share of all' },
  weightDecay: { value: 'X', description: 'Decoupled, of matrices alone' },
  beta1: { value: 'X', description: 'Of AdamW' },
  beta2: { value: 'X', description: 'Of AdamW' },
  epsilon: { value: 'X', description: 'Of AdamW' },
  clip: { value: 'X', description: 'Largest norm of the gradient; 0: no limit' },
  freeze: null, // --freeze
  balance: { value: 'X', description: 'Factor of the load balance loss, where experts are trained (default 0.01)' },
  tau: { value: 'SHARE', description: 'SPRI’s first stage: steps in which routed gate and up stay; the paper has 0.1' },
  reference: { value: 'MODEL', description: 'A model that the KL divergence is measured from' },
  divergence: { value: 'X', description: 'Factor of that divergence in the loss' },
  zLoss: { value: 'X', description: 'Factor of the router z-loss, where experts are trained (default 0.001)' },
  evaluateEvery: { value: 'N', description: 'Steps between two looks at what is held out; default: a tenth of all' },
  patience: { value: 'N', description: 'End after so many looks without a better one, with the best weights' },
  recompute: {
    description: 'Compute layers again on the way back (the default)',
    negative: 'Keep what layers computed: faster, more memory',
  },
  dtype: { value: 'TYPE', description: 'Of the weights that are written: f32, bf16, f16, or auto (as stored)' },
  saveEvery: { value: 'N', description: 'Steps between two states to go on from; 0: none' },
  restart: { description: 'Throw away an unfinished training with other options' },
  seed: { value: 'N', description: 'Of all that is drawn' },
  device: deviceFlag,
  lanes: { value: 'N', description: 'Threads that compute; auto: one for each core' },
  memoryLimit: { value: 'BYTES', description: 'Most bytes on the device; default 4 GiB, on a GPU none' },
  data: null,
  heldOut: null,
  loss: null,
  ...OF_DATA,
  ...OF_PROGRAMS,
});

const lora = written(loraRule, 'a rank from 1 to 1024, and behind a colon an alpha: 8, or 8:16', (text) => {
  const [rank, alpha, more] = text.split(':');
  return more === undefined && { rank: number(rank), ...(alpha !== undefined && { alpha: number(alpha) }) };
});

/** Behind the last @ stands the step. */
const freeze = written(
  freezeRule,
  'a pattern of names, and behind @ the step from which they are trained, or below 1 a share of all',
  (text) => {
    const [, frozen, until] = /^(.+?)(?:@([^@]*))?$/s.exec(text) ?? [];
    return { frozen, ...(until !== undefined && { untilStep: number(until) }) };
  },
);

/** A number is a share, and all else a file. */
const heldOut: Rule<number | string> = {
  takes: 'a share of the examples from 0 to 0.5, or files of their own',
  parse: (text) => (Number.isNaN(number(text)) ? text : number(text)),
  check: (value, name) => {
    if (typeof value === 'string' ? value !== '' : (value as number) >= 0 && (value as number) <= 0.5) {
      return value as number | string;
    }
    throw refusal(name, value, heldOut.takes);
  },
};

const { 'held-out': _, ...data } = dataArguments as ArgumentSpecs & typeof dataArguments;

export const trainArguments = {
  ...data,
  'max-tokens': {
    ...data['max-tokens']!,
    description: 'Most tokens of an example; default: the model’s context, and at most 1024',
  },
  'held-out': {
    type: 'string',
    value: 'SHARE|FILE',
    many: true,
    description: 'What is not trained on, to measure by: a share of the examples, or files',
    rule: heldOut,
  },
  lora: {
    type: 'string',
    value: 'RANK[:ALPHA]',
    description: 'Train an adapter of this rank, 8 by default; alpha is twice the rank unless given',
    rule: lora,
  },
  'lora-targets': {
    type: 'string',
    value: 'NAME',
    many: true,
    description: 'Linear layers that get factors, such as q_proj; default: all',
    rule: words,
  },
  rslora: { type: 'boolean', description: 'Scale the adapter by alpha / √rank' },
  lr: {
    type: 'string',
    value: 'X',
    description: 'The highest learning rate (default 2e-4, with --full 2e-5)',
    rule: trainRecipe.learningRate,
  },
  freeze: {
    type: 'string',
    value: 'PATTERN[@STEP]',
    many: true,
    description: 'Parameters that stay as they are, until a step or for good; * stands for any characters',
    rule: freeze,
  },
  ...flags.args,
} as const;

type Given = Readonly<Record<string, unknown>> & Values<typeof trainArguments>;

/** What they say. @throws E_ARGUMENT for flags that contradict each other */
export function trainOptionsOf(args: Given): TrainOptions {
  const { heldOut: _, onProgress: __, signal: ___, ...read } = dataOptionsOf(args);
  const targets = args['lora-targets'];
  const { rslora } = args;
  const adapter = args.lora !== undefined || targets !== undefined || rslora !== undefined;
  if (adapter && args['full'] === true) {
    throw new EspalierError('E_ARGUMENT', '--full and flags of LoRA contradict each other.', 'Give one.');
  }
  return {
    ...read,
    ...sequenceOptionsOf(args),
    ...flags.options(args),
    data: args.data,
    ...(args['held-out'] !== undefined && { heldOut: heldOutOf(args['held-out']) }),
    ...(adapter && { lora: { ...args.lora, ...(targets && { targets }), ...(rslora !== undefined && { rslora }) } }),
    ...(args.lr !== undefined && { learningRate: args.lr }),
    ...(args.freeze !== undefined && { freeze: args.freeze }),
  };
}

function heldOutOf(given: readonly (number | string)[]): number | readonly DataSource[] {
  const [first] = given;
  if (given.length === 1 && typeof first === 'number') return first;
  const share = given.find((one) => typeof one === 'number');
  if (share === undefined) return given as readonly string[];
  throw new EspalierError(
    'E_ARGUMENT',
    `--held-out is ${share}, and given several times.`,
    'Give one share, or files.',
  );
}
