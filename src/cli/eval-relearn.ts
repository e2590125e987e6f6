import { type RelearnOptions, relearnThereOptions } from '../engine/train/options.ts';
import { relearn } from '../engine/train/relearn.ts';
import type { RelearnProgress } from '../evaluate/robustness/options.ts';
import type { Relearned, RelearnedSide } from '../evaluate/robustness/relearn.ts';
import { defineCommand, type Values } from './shared/command.ts';
import { adapterArgument, jsonArgument, modelArgument } from './shared/common.ts';
import {
  answerArguments,
  DATA_FLAGS,
  dataOptionsOf,
  OF_DATA,
  OF_PROGRAMS,
  sequenceOptionsOf,
} from './shared/data-flags.ts';
import { deviceFlag, optionFlags } from './shared/flags.ts';
import { counted, formatBytes, formatCount, formatTable } from './shared/format.ts';
import { figure } from './shared/measuring.ts';
import { Stages } from './shared/stages.ts';

const flags = optionFlags<RelearnOptions>(relearnThereOptions, {
  original: {
    value: 'MODEL',
    description: 'The model that knew; default: the same without adapters, where there are some',
  },
  share: { value: 'SHARE', description: 'Examples that are trained on; the rest is only looked at' },
  fraction: { value: 'X', description: 'What of the original’s probability counts as back' },
  steps: { value: 'N', description: 'Most steps' },
  batch: { value: 'N', description: 'Sequences of a step' },
  learningRate: { value: 'X', description: 'Constant' },
  rank: { value: 'N', description: 'Of the adapter that is trained, on all linear layers' },
  alpha: { value: 'X', description: 'Its product is multiplied by alpha / rank; default: twice the rank' },
  every: { value: 'N', description: 'Steps between two looks' },
  seed: { value: 'N', description: 'Of all that is drawn' },
  device: deviceFlag,
  lanes: { value: 'N', description: 'Threads that compute; auto: one for each core' },
  memoryLimit: { value: 'BYTES', description: 'Most bytes on the device; default 4 GiB, on a GPU none' },
  adapters: null, // --adapter
  data: null,
  ...OF_DATA,
  ...OF_PROGRAMS,
});

const args = {
  model: modelArgument,
  adapter: adapterArgument,
  ...answerArguments,
  ...flags.args,
  json: jsonArgument,
} as const;

export const evalRelearnCommand = defineCommand({
  meta: { name: 'relearn', description: 'How soon a model learns again what it was made to forget' },
  sections: {
    Data: DATA_FLAGS.filter((flag) => flag !== 'loss'),
    Attack: ['share', 'fraction', 'steps', 'batch', 'learning-rate', 'rank', 'alpha', 'every', 'seed'],
  },
  args,
  run: async ({ args: given, io, signal }) => {
    const options = given as Values<typeof args> & Readonly<Record<string, unknown>>;
    const { seed: _, signal: __, onProgress: ___, heldOut: ____, ...read } = dataOptionsOf(options);
    const stages = new Stages(['downloading', 'relearning'], options.json);
    let steps = 0;
    try {
      const found = await relearn(options.model, {
        ...read,
        ...sequenceOptionsOf(options),
        ...flags.options(options),
        data: options.data,
        ...(options.adapter && { adapters: options.adapter }),
        signal,
        onDownload: ({ overall: { loaded, total } }) =>
          stages.update('downloading', loaded, total, formatBytes(loaded)),
        onProgress: (progress: RelearnProgress) => {
          if (progress.stage === 'relearning') steps = progress.done / progress.total;
          stages.update('relearning', steps, 1, noteOf(progress));
        },
      });
      stages.end();
      io.out(options.json ? `${JSON.stringify(found)}\n` : `${described(found)}\n`);
    } finally {
      stages.end();
    }
  },
});

function noteOf({ stage, done, total, probability }: RelearnProgress): string {
  const known = probability === null ? '' : `, probability ${figure(probability)}`;
  switch (stage) {
    case 'loading':
      return `loading ${formatBytes(done)}`;
    case 'relearning':
      return `step ${done} of ${total}${known}`;
    case 'reading':
    case 'measuring':
    case 'routing':
      return `${stage}, ${done} of ${total}${known}`;
    default:
      return stage satisfies never;
  }
}

function described({ trained, held, steps, most, parameters, curve }: Relearned): string {
  const row = (name: string, one: RelearnedSide) => [
    name,
    one.n,
    figure(one.original),
    figure(one.before),
    figure(one.after),
    figure(one.target),
    one.steps ?? `not in ${steps}`,
  ];
  const sides = [row('trained on', trained), ...(held ? [row('held out', held)] : [])];
  const looks = curve.map((look) => {
    return [look.step, figure(look.trained), ...(held ? [figure(look.held)] : []), figure(look.loss)];
  });
  return [
    formatTable(['answers', 'n', 'original', 'before', 'after', 'back at', 'steps'], sides),
    `${counted(steps, 'step')} of at most ${most}; ${formatCount(parameters)} parameters trained`,
    formatTable(['step', 'trained on', ...(held ? ['held out'] : []), 'loss'], looks),
  ].join('\n');
}
