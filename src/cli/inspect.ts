import type { RoutingRule } from '../checkpoint/adapter/routing.ts';
import type { ModelConfig, RopeConfig } from '../checkpoint/types.ts';
import { EspalierError } from '../errors.ts';
import { type AdapterReport, type ExpertReport, inspectAdapter, inspectModel } from '../inspect.ts';
import { visibleName } from '../model/text/visible.ts';
import { defineCommand } from './shared/command.ts';
import { jsonArgument, modelArgument } from './shared/common.ts';
import { formatBytes, formatCount, formatTable, noteLine } from './shared/format.ts';

export const inspectCommand = defineCommand({
  meta: {
    name: 'inspect',
    description: 'Architecture, sizes, types, memory, and what is unsupported and why; or what an adapter is',
  },
  args: { model: modelArgument, json: jsonArgument },
  run: async ({ args, io, signal }) => {
    const report = await inspectModel(args.model, { signal });
    const [fault] = report.unsupported;
    if (report.format === null && fault?.code === 'E_ADAPTER') {
      const adapter = await inspectAdapter(args.model, { signal });
      io.out(args.json ? `${JSON.stringify(adapter)}\n` : adapterText(adapter));
      return;
    }
    // a file that is no model at all is a failure, and not a model with something that is not supported
    if (report.format === null && fault?.code === 'E_CHECKPOINT_FORMAT') {
      throw new EspalierError(fault.code, fault.message, fault.hint);
    }
    if (args.json) {
      io.out(`${JSON.stringify(report)}\n`);
      return;
    }
    const { config, experts, memory } = report;
    const rows: [string, string | number][] = [
      ['name', report.name],
      ['format', `${report.format ?? 'not known'}, ${formatBytes(report.fileBytes)}`],
      ['parameters', formatCount(report.parameters)],
      ['types', countsText(report.types)],
    ];
    if (config) {
      rows.push(
        ['architecture', config.architecture],
        ['layers', config.nLayers],
        ['hidden, feed-forward', `${config.hiddenSize}, ${config.intermediateSize}`],
        ['heads', `${config.nHeads} of ${config.headDim}, ${config.nKvHeads} for keys and values`],
        ['vocabulary', config.vocabSize],
        ['context', config.maxPositions],
        ['sliding window', windowText(config)],
        ['output matrix', config.headless ? 'none' : config.tiedEmbeddings ? 'the embedding' : 'of its own'],
        ['RoPE', ropeText(config)],
      );
    }
    if (experts) rows.push(...expertRows(experts, config!.nLayers));
    if (memory) {
      rows.push(
        ['memory: weights', formatBytes(memory.weightBytes)],
        [
          'memory: cache',
          `${formatBytes(memory.cacheBytesPerToken)} a token, ${formatBytes(memory.cacheBytesFullContext)} in all`,
        ],
      );
    }
    if (report.ignoredKeys.length > 0) rows.push(['ignored keys', some(report.ignoredKeys)]);
    if (report.unusedTensors.length > 0) rows.push(['unused tensors', some(report.unusedTensors)]);
    io.out(`${formatTable(null, rows)}\n`);
    for (const note of report.notes) io.out(noteLine(note));
    for (const { code, message, hint } of report.unsupported) {
      io.out(`${visibleName(`unsupported: ${code}: ${message} ${hint}`)}\n`);
    }
    if (report.unsupported.length === 0) io.out('supported\n');
  },
});

function adapterText(report: AdapterReport): string {
  const { base, rank, alpha, rslora, targets, modules, types, experts, gate, rule } = report;
  const rows: [string, string | number][] = [
    ['name', report.name],
    ['format', `adapter (LoRA${experts ? ', experts by position' : ''}), ${formatBytes(report.fileBytes)}`],
    ['of', base ?? 'a model that it does not name'],
    ['parameters', formatCount(report.parameters)],
    ['types', countsText(types)],
    ['rank, alpha', `${rank}, ${alpha}${rslora ? ', by the root of the rank' : ''}`],
    ['targets', typeof targets === 'string' ? targets.slice(0, 200) : some(targets)],
    ['modules', modules],
  ];
  if (experts) rows.push(['experts', some(experts.map(({ name }) => name))]);
  if (gate) rows.push(['gate', gate.kind]);
  if (rule) rows.push(['rule', ruleText(rule)]);
  return `${formatTable(null, rows)}\n${report.notes.map(noteLine).join('')}`;
}

function ruleText({ path, cut, order, alignment, temperature, most, strength }: RoutingRule): string {
  const high = `high above ${cut} of order ${order}, ${alignment}; up to ${most} share at temperature ${temperature}`;
  return `path ${path}, ${cut === null ? 'no position is high' : high}; strength ${strength}`;
}

function countsText(types: Readonly<Record<string, number>>): string {
  return Object.entries(types)
    .map(([type, n]) => `${n} ${type}`)
    .join(', ');
}

/** Of a long list the first, and how many more. */
function some(list: readonly string[]): string {
  const most = 8;
  const more = list.length > most ? `, and ${list.length - most} more` : '';
  return `${list
    .slice(0, most)
    .map((name) => name.slice(0, 100))
    .join(', ')}${more}`;
}

function windowText({ slidingWindow, windowLayers, nLayers }: ModelConfig): string {
  return slidingWindow === null ? 'none' : `${slidingWindow} positions in ${layersText(windowLayers, nLayers)}`;
}

function ropeText({ rope, localRope, localRopeLayers, noRopeLayers, nLayers }: ModelConfig): string {
  const one = ({ theta, rotaryDims, scaling }: RopeConfig) =>
    `base ${theta}, ${rotaryDims} dimensions, scaling ${scaling.type}`;
  const parts = [one(rope)];
  if (localRope) parts.push(`${one(localRope)} in ${layersText(localRopeLayers, nLayers)}`);
  if (noRopeLayers.length > 0) parts.push(`none in ${layersText(noRopeLayers, nLayers)}`);
  return parts.join('; ');
}

function layersText(layers: readonly number[], nLayers: number): string {
  if (layers.length === nLayers) return 'every layer';
  return `layer${layers.length === 1 ? '' : 's'} ${layers.join(', ')}`;
}

function expertRows(experts: ExpertReport, nLayers: number): [string, string | number][] {
  const { router, layers, sharedSize } = experts;
  const score = {
    softmax: 'softmax over all',
    'selected-softmax': 'softmax over the chosen',
    sigmoid: 'sigmoid',
  }[router.score];
  const rule = [
    score,
    ...(router.renormalise ? ['weights sum to 1'] : []),
    ...(router.scale === 1 ? [] : [`times ${router.scale}`]),
    ...(router.groups === 1
      ? []
      : [
          `${router.topGroups} of ${router.groups} groups by their ${router.groupScore === 'max' ? 'best' : 'best two'}`,
        ]),
    ...(router.selectionBias ? ['a bias for choosing'] : []),
  ];
  return [
    [
      'experts',
      `${experts.experts} of ${experts.expertSize}, ${experts.topK} a token, in ${layersText(layers, nLayers)}`,
    ],
    ['shared expert', sharedSize === 0 ? 'none' : `of ${sharedSize}${experts.sharedGate ? ', gated' : ''}`],
    ['router', rule.join(', ')],
    ['active parameters', formatCount(experts.activeParameters)],
  ];
}
