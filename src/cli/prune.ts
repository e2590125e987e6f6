import { planPrune, prune } from '../engine/prune/prune.ts';
import { EspalierError } from '../errors.ts';
import { leastKept, mostLeft } from '../prune/choice/choice.ts';
import type { PlannedPruning } from '../prune/job/planned.ts';
import type { PruneProgress } from '../prune/options.ts';
import type { PruneReceipt } from '../prune/write/receipt.ts';
import type { DownloadProgress } from '../runtime/hub/download-progress.ts';
import { defineCommand } from './shared/command.ts';
import { jsonArgument, modelArgument } from './shared/common.ts';
import { textInFlags } from './shared/flags.ts';
import { counted, formatBytes, formatCount, formatDuration, formatTable, memoryLine } from './shared/format.ts';
import { LogFile } from './shared/log-file.ts';
import { pruneArguments, pruneOptionsOf } from './shared/prune-flags.ts';
import { pageOf } from './shared/prune-report.ts';
import { pruneSamples } from './shared/prune-samples.ts';
import { Stages } from './shared/stages.ts';
import { word } from './shared/word.ts';

export const pruneCommand = defineCommand({
  meta: { name: 'prune', description: 'Make a model forget what is named, by an adapter' },
  sections: {
    'What is forgotten and kept': ['forget', 'retain', 'unseen', 'apart', 'request', 'earlier'],
    'Models beside it': ['base', 'reference'],
    Data: [
      ...(['format', 'column', 'prompt', 'answer', 'chat', 'language', 'source-language', 'piece-length'] as const),
      ...(['max-tokens', 'long', 'end', 'special-tokens'] as const),
    ],
    Entropy: ['q', 'cut', 'percentile', 'fallback'],
    'The adapter': ['domains', 'rank', 'alpha', 'targets'],
    'Both phases': [
      ...(['objective', 'mask', 'epochs', 'batch', 'rate', 'forgetting', 'retention', 'clip', 'seed'] as const),
      ...(['schedule', 'structure-steps', 'structure-order', 'regulariser', 'invariance', 'shared-rate'] as const),
    ],
    'Where it stops': ['looks', 'strengths', 'measured', 'enough'],
    'The gate': ['gate', 'gate-steps', 'gate-tokens', 'gate-rounds', 'gate-units', 'path', 'alignment', 'route-cut'],
    'Memory and time': ['rows', 'device', 'lanes', 'memory-limit'],
    'What is written': ['out', 'html', 'save-every', 'restart', 'dry-run'],
  },
  args: {
    model: modelArgument,
    ...pruneArguments,
    'dry-run': { type: 'boolean', description: 'Say steps, parameters and memory, and train nothing', default: false },
    html: { type: 'string', value: 'FILE', description: 'Write a report as one HTML page, with examples of the data' },
    json: jsonArgument,
  },
  run: async ({ args, io, signal, fail }) => {
    const stages = new Stages(['downloading', ...STAGES], args.json);
    const onDownload = ({ overall: { loaded, total } }: DownloadProgress) =>
      stages.update('downloading', loaded, total, formatBytes(loaded));
    let kept: { readonly done: number; readonly total: number } | null = null;
    let looks = 0;
    let gating = false;
    const options = pruneOptionsOf(args);
    if (args['dry-run']) {
      const { restart: _, saveEvery: __, ...planned } = options;
      const plan = await planPrune(args.model, { ...planned, signal, onDownload }).finally(() => stages.end());
      io.out(`${args.json ? JSON.stringify(plan) : describePlan(plan)}\n`);
      // what would be refused
      if (plan.advice !== null) fail();
      return;
    }
    const onProgress = ({ stage, done, total, secondsLeft, answers }: PruneProgress) => {
      if (stage === 'saving') kept = { done, total };
      if (stage === 'saving' || stage === 'looking') return;
      const note = [
        ...(answers === null || stage !== 'training' ? [] : [`answers ${percent(answers)}`]),
        ...(secondsLeft === null || done === total ? [] : [`${formatDuration(secondsLeft)} left`]),
      ].join('  ');
      stages.update(stage, done, total, note);
      if (stage === 'training' && answers !== null && Math.floor((10 * done) / total) > looks && !args.json) {
        looks = Math.floor((10 * done) / total);
        stages.clear();
        io.err(`step ${done} of ${total}  ${note}\n`);
      }
      // where no bar is seen it would be silent from here on
      if (stage === 'gating' && !gating && !args.json) {
        gating = true;
        stages.clear();
        io.err('both phases are done; the gate learns where experts act\n');
      }
    };
    const page = args.html === undefined ? null : await LogFile.open(args.html);
    try {
      const { receipt } = await prune(args.model, { ...options, signal, onDownload, onProgress });
      if (page) {
        const { forget, retain } = args;
        const samples = await pruneSamples(args.model, String(options.out), { ...options, forget, retain }, signal);
        await page.write(pageOf(receipt, samples));
        if (!args.json) io.err(`The report is in ${args.html}.\n`);
      }
      stages.end();
      if (args.json) {
        const { chosen, strength, target, before, after, gate, steps, seconds, parameters, files } = receipt;
        io.out(
          `${JSON.stringify({ chosen, strength, target, before, after, gate, steps, seconds, parameters, files })}\n`,
        );
      } else io.out(`${describe(receipt, args.model, String(options.out))}\n`);
    } catch (error) {
      if (!(error instanceof EspalierError) || error.code !== 'E_ABORTED' || kept === null) throw error;
      const { done, total } = kept as { readonly done: number; readonly total: number };
      const what = `Pruning was stopped, and ${done} of at most ${total} steps are kept.`;
      throw new EspalierError('E_ABORTED', what, 'Run the same command to go on from there.', { cause: error });
    } finally {
      stages.end();
      await page?.close();
    }
  },
});

function describePlan({
  options,
  data,
  domains,
  steps,
  looks,
  tokens,
  parameters,
  memory,
  advice,
  ...rest
}: PlannedPruning): string {
  const { measuring, training, gating, checking, total, limit } = memory;
  const side = ({ examples, tokens: own }: { readonly examples: number; readonly tokens: number }): string =>
    `${counted(examples, 'example', formatCount(examples))}, ${counted(own, 'token', formatCount(own))}`;
  const rows: [string, string][] = [
    ['forgets', side(data.forget)],
    ['keeps', side(data.retain)],
    ...(domains === 1 ? [] : [['sub-domains', `${domains} at most`] as [string, string]]),
    [
      'steps',
      options.schedule === 'phases'
        ? `${steps.structure} of Phase I, and at most ${steps.editing} of Phase II; ${steps.gate} of the gate`
        : `at most ${steps.editing}, in each of which A learns, too; ${steps.gate} of the gate`,
    ],
    ['', `about ${formatCount(tokens)} tokens in both phases, ${counted(looks, 'look')} beside them`],
    ['adapter', `${formatCount(parameters)} parameters, without its gate`],
    ['memory', memoryLine(total, limit)],
    ...(advice === null ? [] : [['', textInFlags(advice, pruneArguments)] as [string, string]]),
    ['', `measuring ${formatBytes(measuring)}, training ${formatBytes(training)}`],
    ['', `gate ${formatBytes(gating)}, checking ${formatBytes(checking)}`],
    ['files', `${formatBytes(rest.resultBytes)}, and ${formatBytes(rest.stateBytes)} a state on the way`],
    // of no folder nothing is known
    ...(rest.freeBytes === null ? [] : [['free', formatBytes(rest.freeBytes)] as [string, string]]),
  ];
  return formatTable(null, rows);
}

const STAGES = ['reading', 'measuring', 'loading', 'training', 'gating', 'checking', 'writing'] as const;

const percent = (probability: number): string => `${(100 * probability).toPrecision(3)} %`;

const SOURCES: Readonly<Record<PruneReceipt['target']['source'], string>> = {
  reference: 'answers of the reference',
  unseen: 'answers that it never saw',
  base: 'answers of the base',
  enough: 'what is enough',
};

function whyChosen(receipt: PruneReceipt): string {
  const { options, chosen, before, target } = receipt;
  const never = `${SOURCES[target.source]}, ${percent(target.probability)}`;
  if (chosen.retain < leastKept(before.retain)) {
    return `the most of what is kept, and still too little: no candidate has 98 % of it; aim: ${never}`;
  }
  switch (options.objective) {
    case 'hinge':
      return `nearest to ${never}`;
    case 'base':
      return `${whyStrong(receipt)}; aim: ${never}`;
    default:
      return options.objective satisfies never;
  }
}

/** What the look had, and what has come of it through the gate. */
function whyStrong({ chosen, strength, before, after, target }: PruneReceipt): string {
  const most = mostLeft(before.forget, target.probability);
  const look = chosen.forget <= most ? 'the first that has forgotten' : 'the least that was left';
  if (after.forget <= most) return chosen.forget <= most ? look : `${look}, and enough with that strength`;
  if (strength.by === 'retain')
    return `${look}; through the gate too much is left, and stronger experts keep too little`;
  if (chosen.forget <= most) return `${look}; through the gate too much is left: give more --gate-steps`;
  return `${look}, and still too much: give a higher --rate or more --epochs`;
}

function describe(receipt: PruneReceipt, model: string, out: string): string {
  const { before, after, chosen, strength, gate, measured, data, seconds, parameters, looks } = receipt;
  const rest = gate.rounds.at(-1);
  const rows: [string, string][] = [
    [
      'forgets',
      `${counted(data.forget.examples, 'example')}: a token of their answers had a probability of ${percent(before.forget)}, and has ${percent(after.forget)}`,
    ],
    ['keeps', `${counted(data.retain.examples, 'example')}: ${percent(before.retain)}, and ${percent(after.retain)}`],
    ['', `measured on ${measured.forget} and ${measured.retain} of them, with the gate`],
    ...(after.retain < leastKept(before.retain) && chosen.retain >= leastKept(before.retain)
      ? [
          ['', 'the gate opens where it should not: give more --gate-steps, or more of what is kept'] as [
            string,
            string,
          ],
        ]
      : []),
    [
      'chosen',
      `epoch ${chosen.epoch.toFixed(2)}, strength ${strength.settled}, of ${counted(looks.flat().length, 'candidate')}${strength.tried.length > 1 ? ` and ${counted(strength.tried.length, 'strength')}` : ''}`,
    ],
    ['', whyChosen(receipt)],
    [
      'gate',
      `right at ${percent(gate.accuracy.experts)} of answers to forget that it learned from, ${percent(gate.accuracy.none)} of all else`,
    ],
    ...(rest === undefined
      ? []
      : [
          [
            '',
            `${rest.wrong} of ${counted(rest.tokens, 'further token', formatCount(rest.tokens))} wrong, before it learned from these`,
          ] as [string, string],
        ]),
    ['adapter', `${formatCount(parameters)} parameters, both phases in ${formatDuration(seconds)}`],
  ];
  return [
    `${out}: an adapter for the request ${JSON.stringify(receipt.request)}; a reconstruction of ALTER`,
    formatTable(null, rows),
    `try it: espalier generate ${word(model)} --adapter ${word(out)} --prompt TEXT`,
  ].join('\n');
}
