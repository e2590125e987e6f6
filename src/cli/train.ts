import { planTrain, train } from '../engine/train/train.ts';
import type { DownloadProgress } from '../runtime/hub/download-progress.ts';
import type { PlannedTraining } from '../train/job.ts';
import type { TrainProgress } from '../train/options.ts';
import type { TrainReceipt } from '../train/write/receipt.ts';
import { defineCommand } from './shared/command.ts';
import { jsonArgument, modelArgument } from './shared/common.ts';
import { DATA_FLAGS } from './shared/data-flags.ts';
import { textInFlags } from './shared/flags.ts';
import { counted, formatBytes, formatCount, formatDuration, formatTable, memoryLine } from './shared/format.ts';
import { Stages } from './shared/stages.ts';
import { trainArguments, trainOptionsOf } from './shared/train-flags.ts';
import { TrainLines } from './shared/train-lines.ts';
import { word } from './shared/word.ts';

export const trainCommand = defineCommand({
  meta: { name: 'train', description: 'Train a model, or a LoRA adapter for it, on examples' },
  sections: {
    'What is trained': ['full', 'lora', 'lora-targets', 'rslora', 'freeze'],
    Data: DATA_FLAGS,
    'What is held out': ['held-out', 'evaluate-every', 'patience'],
    Steps: [
      ...['epochs', 'steps', 'batch', 'shuffle', 'lr', 'schedule', 'warmup', 'weight-decay', 'clip'],
      ...['beta1', 'beta2', 'epsilon', 'seed'],
    ],
    'Other losses': ['balance', 'z-loss', 'tau', 'reference', 'divergence'],
    'Memory and time': ['rows', 'recompute', 'device', 'lanes', 'memory-limit'],
    'What is written': ['out', 'dtype', 'save-every', 'restart'],
  },
  args: {
    model: modelArgument,
    ...trainArguments,
    'dry-run': { type: 'boolean', description: 'Say steps, parameters and memory, and train nothing', default: false },
    json: jsonArgument,
  },
  run: async ({ args, io, signal, fail }) => {
    const options = { ...trainOptionsOf(args), signal };
    const { out, restart: _, saveEvery: __, ...planned } = options;
    const stages: Bars = new Stages(['downloading', 'reading', 'loading', 'training', 'writing'], args.json);
    const onDownload = ({ overall: { loaded, total } }: DownloadProgress) =>
      stages.update('downloading', loaded, total, formatBytes(loaded));
    try {
      if (args['dry-run']) {
        const plan = await planTrain(args.model, { ...planned, onDownload, ...(out === undefined ? {} : { out }) });
        stages.end();
        io.out(`${args.json ? JSON.stringify(plan) : describePlan(plan)}\n`);
        // what would be refused
        if (plan.advice !== null) fail();
        return;
      }
      const lines = new TrainLines();
      const onProgress = (progress: TrainProgress) => {
        show(stages, progress);
        const line = lines.next(progress);
        if (line === null || args.json) return;
        stages.clear();
        io.err(`${line}\n`);
      };
      const { receipt } = await train(args.model, { ...options, onDownload, onProgress }).catch((error: unknown) => {
        throw lines.stopped(error);
      });
      stages.end();
      if (!args.json) {
        io.out(`${describe(receipt, args.model, String(out))}\n`);
        return;
      }
      const { steps, tokens, loss, seconds, peakBytes, files } = receipt;
      io.out(`${JSON.stringify({ steps, tokens, loss, seconds, peakBytes, files })}\n`);
    } finally {
      stages.end();
    }
  },
});

type Bars = Stages<'downloading' | 'reading' | 'loading' | 'training' | 'writing'>;

/** One bar for training, its looks at what is held out, and its states. */
function show(stages: Bars, progress: TrainProgress): void {
  const { stage, done, total, loss, heldOut, tokensPerSecond } = progress;
  switch (stage) {
    case 'reading':
    case 'loading':
    case 'writing':
      stages.update(stage, done, total);
      return;
    case 'training':
      stages.update(
        stage,
        done,
        total,
        [
          ...(loss === null ? [] : [`loss ${loss.toFixed(3)}`]),
          ...(heldOut === null ? [] : [`held out ${heldOut.toFixed(3)}`]),
          ...(tokensPerSecond === null ? [] : [`${formatCount(Math.round(tokensPerSecond))} tokens/s`]),
        ].join('  '),
      );
      return;
    case 'evaluating':
    case 'saving':
      return;
    default:
      stage satisfies never;
  }
}

function describePlan({ data, steps, parameters, trained, memory, advice, options, ...rest }: PlannedTraining): string {
  const { lora, batch } = options;
  const { weights, masters, gradients, moments, activations, total, limit } = memory;
  const share = ((100 * trained) / parameters).toPrecision(3);
  const rows: [string, string | number][] = [
    ['examples', `${data.examples}${data.heldOut > 0 ? `, and ${data.heldOut} held out` : ''}`],
    ...(data.longest === null ? [] : [['longest', `${data.longest} tokens`] as [string, string]]),
    ['steps', `${steps} of ${counted(batch, 'sequence')}`],
    [
      'trained',
      `${formatCount(trained)} parameters, ${lora ? `an adapter of rank ${lora.rank}: ${share} % of the model` : `of ${formatCount(parameters)}`}`,
    ],
    ['memory', memoryLine(total, limit)],
    ...(advice === null ? [] : [['', textInFlags(advice, trainArguments)] as [string, string]]),
    ['', `weights ${formatBytes(weights)}, f32 of what is trained ${formatBytes(masters)}`],
    ['', `gradients ${formatBytes(gradients)}, moments ${formatBytes(moments)}`],
    ['', `activations ${formatBytes(activations)}`],
    ['files', `${formatBytes(rest.resultBytes)}, and ${formatBytes(rest.stateBytes)} a state on the way`],
    // of no folder nothing is known
    ...(rest.freeBytes === null ? [] : [['free', formatBytes(rest.freeBytes)] as [string, string]]),
  ];
  return formatTable(null, rows);
}

function describe(receipt: TrainReceipt, model: string, out: string): string {
  const { steps, tokens, loss, heldOut, seconds, peakBytes, options } = receipt;
  const figure = (value: number) => value.toFixed(4);
  const before = heldOut[0];
  const held =
    loss.heldOut === null || before === undefined
      ? []
      : [`held out ${figure(before.loss)} at first, ${figure(loss.heldOut)} as written`];
  const early = steps < options.steps ? [`ended early: ${steps} of ${options.steps} steps`] : [];
  return [
    `${out}: ${options.lora ? `an adapter of rank ${options.lora.rank}` : 'a model'}, ${counted(steps, 'step')}, ${formatCount(tokens)} tokens in ${formatDuration(seconds)}`,
    `loss ${figure(loss.first)} in the first step, ${figure(loss.last)} in the last`,
    ...held,
    ...early,
    `at most ${formatBytes(peakBytes)} on the device`,
    `try it: espalier generate ${options.lora ? `${word(model)} --adapter ${word(out)}` : word(out)} --prompt TEXT`,
  ].join('\n');
}
