import { grow, planGrow } from '../engine/grow/grow.ts';
import type { GrowOptions } from '../engine/grow/options.ts';
import type { PlannedGrowth, Receipt } from '../grow.ts';
import { defineCommand } from './shared/command.ts';
import { jsonArgument, lanesArgument, modelArgument } from './shared/common.ts';
import { counted, formatBytes, formatCount, formatDuration, formatTable } from './shared/format.ts';
import { growArguments, growOptionsOf } from './shared/grow-flags.ts';
import { Stages } from './shared/stages.ts';

export const growCommand = defineCommand({
  meta: { name: 'grow', description: 'Grow a dense model into a mixture of experts (SPRI)' },
  args: {
    model: modelArgument,
    ...growArguments,
    lanes: lanesArgument,
    'dry-run': { type: 'boolean', description: 'Say sizes, time and memory, and write nothing', default: false },
    json: jsonArgument,
  },
  run: async ({ args, io, signal }) => {
    const options: GrowOptions = { ...growOptionsOf(args), lanes: args.lanes, signal };
    const { out, restart: _, ...planned } = options;
    const dryRun = args['dry-run'];
    if (dryRun) {
      const plan = await planGrow(args.model, { ...planned, ...(out === undefined ? {} : { out }) });
      io.out(`${args.json ? JSON.stringify(plan) : describePlan(plan)}\n`);
      return;
    }
    const stages = new Stages(['downloading', 'growing', 'verifying'], args.json);
    const started = performance.now();
    try {
      const { receipt } = await grow(args.model, {
        ...options,
        onDownload: ({ overall: { loaded, total } }) =>
          stages.update('downloading', loaded, total, formatBytes(loaded)),
        onProgress: ({ stage, done, total }) =>
          stages.update(stage, done, total, stage === 'growing' ? formatBytes(done) : ''),
      });
      stages.end();
      if (args.json) io.out(`${JSON.stringify(receipt)}\n`);
      else io.out(`${describeReceipt(receipt, String(out), (performance.now() - started) / 1000)}\n`);
    } finally {
      stages.end();
    }
  },
});

function describePlan({ fit, sizes, plan, ...rest }: PlannedGrowth): string {
  const rows: [string, string | number][] = [
    ['target', fit.target],
    ['layers', `${fit.layers.length} of experts`],
    [
      'experts',
      `${sizes.experts} of ${sizes.expertSize}, ${plan.topK} a token${sizes.sharedSize ? ', one shared' : ''}`,
    ],
    ['parameters', `${formatCount(rest.parameters)}, ${formatCount(rest.activeParameters)} active`],
    ['files', `${rest.files.length}, ${formatBytes(rest.bytes)} as ${fit.type}`],
    // of no folder nothing is known
    ...(rest.freeBytes === null ? [] : [['free', formatBytes(rest.freeBytes)] as [string, string]]),
    ['time', `about ${formatDuration(rest.seconds)}, by a rough estimate`],
    [
      'memory',
      `about ${formatBytes(rest.memoryBytes)} in all${rest.verify ? ', the comparison in the end included' : ''}`,
    ],
  ];
  return [formatTable(null, rows), ...fit.notes].join('\n');
}

function describeReceipt(receipt: Receipt, out: string, seconds: number): string {
  const { grown, start, deviation, notes, sizes, target, type, layers } = receipt;
  const rows = grown.map(({ layer, projections, diversity, outputDiversity, branchSize }) => {
    const first = projections[0];
    return [
      layer,
      first?.largest ? first.largest.toPrecision(4) : '–',
      first?.smallest ? first.smallest.toPrecision(4) : '–',
      first ? first.blockEnergies.map((energy) => `${Math.round(100 * energy)} %`).join(' ') : '–',
      diversity.toFixed(4),
      outputDiversity.toFixed(4),
      branchSize.toPrecision(3),
    ];
  });
  const head = ['layer', 'largest', 'smallest', 'energies', 'diversity', 'of outputs', 'branch'];
  return [
    formatTable(head, rows),
    '',
    `${out}: ${target}, ${counted(layers.length, 'layer')} with ${counted(sizes.experts, 'expert')}, ${type}, in ${formatDuration(seconds)}`,
    ...gpuLines(grown),
    ...notes,
    start.statement,
    ...(deviation ? [deviation.statement] : []),
  ].join('\n');
}

/** What a GPU computed, where one was asked. */
function gpuLines(grown: Receipt['grown']): string[] {
  const records = grown.flatMap(({ projections }) => projections.flatMap(({ gpu }) => gpu ?? []));
  if (records.length === 0) return [];
  const most = (errors: readonly (number | null)[]) => Math.max(...errors.map((error) => error ?? 0)).toExponential(1);
  const adapters = [...new Set(records.map(({ adapter }) => adapter))].join(', ');
  return [
    `Gram matrices and slices by ${adapters}: by probes wrong by at most ${most(records.map((one) => one.gramError))} and ${most(records.map((one) => one.sliceError))}.`,
  ];
}
