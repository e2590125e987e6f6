import { planUpcycle, upcycle } from '../engine/grow.ts';
import { EspalierError } from '../errors.ts';
import type { GrowOptions, Receipt, UpcyclePlan } from '../grow.ts';
import { defineCommand } from './command.ts';
import { jsonArgument, lanesArgument, modelArgument, numberOf } from './common.ts';
import { formatBytes, formatCount, formatDuration, formatTable, Progress } from './format.ts';

const text = (description: string) => ({ type: 'string', description }) as const;

export const upcycleCommand = defineCommand({
  meta: { name: 'upcycle', description: 'Grow a dense model into a mixture of experts (SPRI)' },
  args: {
    model: modelArgument,
    out: text('The folder to write, which must not exist or be empty'),
    target: text('granitemoeshared, mixtral, qwen2_moe, qwen3_moe, espalier, or auto'),
    preset: text('paper, or gguf-safe'),
    method: text('spri, naive, noise, drop, virtual-group, split, scaled-copy or zero-delta'),
    preserve: text('Of the baselines: as-published, or function-preserving'),
    experts: text('Routed experts of a layer (8)'),
    'top-k': text('Experts that a token passes (2)'),
    'group-size': text('Experts that share a slice of the spectrum (as top-k)'),
    layers: text('Every n-th layer ("4"), or a list ("3,7,11"; "3," is one)'),
    partition: text('contiguous, equal-energy, strided, random, random-orthogonal, none, tail-drop:P or head-keep:P'),
    placement: text('Projections that get the slices: down, gate, up, or several with commas'),
    anchor: text('shared, folded, routed or none'),
    rho: text('Norm of a correction as a share of the weights’ (0.001)'),
    noise: text('Noise as a share of the correction (0.44); 0: none'),
    router: text('Initialisation of the router: normal, uniform, kaiming-uniform, orthogonal, …'),
    seed: text('Of all random numbers (0)'),
    dtype: text('bf16, f16, f32, or auto (as the source)'),
    gguf: {
      type: 'boolean',
      description: 'Refuse, or adapt, what llama.cpp would not compute alike after conversion',
      default: false,
    },
    'max-shard-bytes': text('Largest file of weights (5000000000)'),
    lanes: lanesArgument,
    'dry-run': { type: 'boolean', description: 'Say sizes, time and memory, and write nothing', default: false },
    restart: { type: 'boolean', description: 'Throw away an unfinished job with other options', default: false },
    verify: {
      type: 'boolean',
      description: 'Compare the logits of both models in the end',
      default: true,
      negative: 'Do not compare the logits of both models in the end',
    },
    'verify-text': text('The text to compare them on'),
    json: jsonArgument,
  },
  run: async ({ args, io, signal }) => {
    const options = { ...growOptions(args), lanes: args.lanes, signal };
    const { out } = args;
    const dryRun = args['dry-run'];
    if (out === undefined && !dryRun) {
      throw new EspalierError('E_ARGUMENT', 'There is no folder to write to.', 'Give --out FOLDER, or --dry-run.');
    }
    if (dryRun) {
      const plan = await planUpcycle(args.model, { ...options, ...(out === undefined ? {} : { out }) });
      io.out(`${args.json ? JSON.stringify(plan) : describePlan(plan)}\n`);
      return;
    }
    const bars = {
      downloading: new Progress({ label: 'downloading', total: 1, silent: args.json }),
      growing: new Progress({ label: 'growing', total: 1, silent: args.json }),
      verifying: new Progress({ label: 'verifying', total: 1, silent: args.json }),
    };
    const started = performance.now();
    try {
      const { receipt } = await upcycle(args.model, {
        ...options,
        out: out!,
        restart: args.restart,
        verify: args['verify-text'] ?? args.verify,
        onDownload: ({ overall: { loaded, total } }) =>
          bars.downloading.update(loaded / (total || 1), formatBytes(loaded)),
        onProgress: ({ stage, done, total }) => {
          bars.downloading.end();
          if (stage === 'verifying') bars.growing.end();
          bars[stage].update(done / total, stage === 'growing' ? formatBytes(done) : '');
        },
      });
      for (const bar of Object.values(bars)) bar.end();
      if (args.json) io.out(`${JSON.stringify(receipt)}\n`);
      else io.out(`${describeReceipt(receipt, out!, (performance.now() - started) / 1000)}\n`);
    } finally {
      for (const bar of Object.values(bars)) bar.end();
    }
  },
});

type Args = Readonly<Record<string, unknown>>;

/** Options as the library takes them, which checks their values. @throws E_ARGUMENT for what is no number */
function growOptions(args: Args): GrowOptions & { gguf?: boolean; maxShardBytes?: number } {
  const given = (name: string) => args[name] as string | undefined;
  const number = (name: string) => numberOf(name, given(name));
  const noise = number('noise');
  const router = given('router');
  const options = {
    preset: given('preset'),
    target: given('target'),
    method: given('method'),
    preserve: given('preserve'),
    experts: number('experts'),
    topK: number('top-k'),
    groupSize: number('group-size'),
    layers: layersOf(given('layers')),
    partition: partitionOf(given('partition')),
    placement: given('placement')?.split(','),
    anchor: given('anchor'),
    rho: number('rho'),
    noise: noise === undefined ? undefined : noise === 0 ? { kind: 'none' } : { kind: 'relative', ratio: noise },
    router: router === 'normal' || router === 'uniform' ? { kind: router, std: 0.02 } : router && { kind: router },
    seed: number('seed'),
    dtype: given('dtype'),
    gguf: args['gguf'] === true ? true : undefined,
    maxShardBytes: number('max-shard-bytes'),
  };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as GrowOptions;
}

function layersOf(given: string | undefined): { interval: number } | number[] | undefined {
  if (given === undefined) return undefined;
  if (!given.includes(',')) return { interval: numberOf('layers', given)! };
  return given
    .split(',')
    .filter((layer) => layer !== '')
    .map((layer) => numberOf('layers', layer)!);
}

function partitionOf(given: string | undefined): unknown {
  const [, kind, count] = /^(tail-drop|head-keep):(.+)$/.exec(given ?? '') ?? [];
  if (kind === undefined) return given;
  return { [kind === 'tail-drop' ? 'tailDrop' : 'headKeep']: numberOf('partition', count) };
}

function describePlan({ fit, sizes, plan, ...rest }: UpcyclePlan): string {
  const rows: [string, string | number][] = [
    ['target', fit.target],
    ['layers', `${fit.layers.length} of experts`],
    [
      'experts',
      `${sizes.experts} of ${sizes.expertSize}, ${plan.topK} a token${sizes.sharedSize ? ', one shared' : ''}`,
    ],
    ['parameters', `${formatCount(rest.parameters)}, ${formatCount(rest.activeParameters)} active`],
    ['files', `${rest.files.length}, ${formatBytes(rest.bytes)} as ${fit.type}`],
    ['free', rest.freeBytes === null ? 'not known' : formatBytes(rest.freeBytes)],
    ['time', `about ${formatDuration(rest.seconds)}, by a rough estimate`],
    ['memory', `about ${formatBytes(rest.memoryBytes)}`],
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
    `${out}: ${target}, ${layers.length} layers with ${sizes.experts} experts, ${type}, in ${formatDuration(seconds)}`,
    ...notes,
    start.statement,
    ...(deviation ? [deviation.statement] : []),
  ].join('\n');
}
