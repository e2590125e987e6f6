import type { Checkpoint } from '../../checkpoint/types.ts';
import { EspalierError } from '../../errors.ts';
import type { Fit } from '../plan/fit.ts';
import type { GrowPlan, LayerRecord } from '../types.ts';
import type { Deviation } from '../verify/compare.ts';
import { PROBES } from '../verify/diversity.ts';
import type { CopiedRange } from './copies.ts';
import type { GroupRecord } from './layout.ts';
import type { ExpertSizes } from './output-config.ts';

/** Part of a job's identity: a job that was begun with other records is not resumed. */
export const RECEIPT_VERSION = 3;

/** What a sceptic can check of a grown model. It holds no times, so that the same job gives the same receipt. */
export interface Receipt {
  readonly receipt: 'espalier-grow';
  readonly version: typeof RECEIPT_VERSION;
  readonly source: {
    readonly name: string;
    readonly format: 'safetensors' | 'gguf';
    readonly architecture: string;
    readonly bytes: number;
  };
  readonly plan: GrowPlan;
  readonly target: Fit['target'];
  readonly type: Fit['type'];
  readonly layers: readonly number[];
  readonly sizes: ExpertSizes;
  /** What computed Gram matrices and slices: each projection's `gpu` says how well. The CPU's result is the same bits everywhere. */
  readonly device: 'wasm' | 'webgpu';
  /** What was decided for the caller, and why. */
  readonly notes: readonly string[];
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
  /** One a grown layer. */
  readonly grown: readonly LayerRecord[];
  /** How much the routed experts give before any training, over the grown layers, and how that and the diversities were measured. */
  readonly start: {
    /** Smallest and largest `branchSize` of a layer, and `change`. */
    readonly branchSize: readonly [smallest: number, largest: number];
    readonly change: readonly [smallest: number, largest: number];
    readonly statement: string;
  };
  /** Source tensors that were copied byte for byte, each as often as the layout has it. */
  readonly copied: readonly CopiedRange[];
  /** Measured on the files as written, opened again; null when that was left out. */
  readonly deviation: (Deviation & { readonly statement: string }) | null;
}

/** @throws E_TENSOR_VALUE where a figure is no number: a receipt of one would certify nothing */
export function receiptOf(facts: {
  readonly checkpoint: Checkpoint;
  readonly plan: GrowPlan;
  readonly fit: Fit;
  readonly sizes: ExpertSizes;
  readonly device: Receipt['device'];
  /** Beside those of the fit. */
  readonly notes: readonly string[];
  readonly files: Receipt['files'];
  readonly records: readonly GroupRecord[];
  readonly deviation: Deviation | null;
}): Receipt {
  const { checkpoint, plan, fit, sizes, device, files, records, deviation } = facts;
  const { name, format, config, byteLength: bytes } = checkpoint;
  const grown = records.flatMap(({ layer }) =>
    layer === null ? [] : [{ ...layer, outputDiversity: digits(layer.outputDiversity) }],
  );
  const receipt: Receipt = {
    receipt: 'espalier-grow',
    version: RECEIPT_VERSION,
    source: { name: lastPart(name), format, architecture: config.architecture, bytes },
    plan,
    target: fit.target,
    type: fit.type,
    layers: fit.layers,
    sizes,
    device,
    notes: [...fit.notes, ...facts.notes, ...grown.flatMap(recomputed)],
    files,
    grown,
    start: startOf(grown, plan),
    copied: records.flatMap(({ copied }) => copied),
    deviation: deviation && { ...deviation, statement: statementOf(deviation) },
  };
  checkFigures(receipt, 'receipt');
  return receipt;
}

/** What a GPU has missed. */
function recomputed({ layer, projections }: LayerRecord): string[] {
  return projections.flatMap(({ projection, gpu }) => {
    const list = gpu?.recomputed ?? [];
    if (list.length === 0) return [];
    const what = list.map((one) => (one === 'gram' ? 'the Gram matrix' : `the slice of group ${one + 1}`)).join(', ');
    return [`Layer ${layer}, ${projection}: the GPU missed its bounds, and the CPU computed again: ${what}.`];
  });
}

function startOf(grown: readonly LayerRecord[], { anchor }: GrowPlan): Receipt['start'] {
  const ends = (values: readonly number[]): [number, number] => [
    values.reduce((x, y) => Math.min(x, y)),
    values.reduce((x, y) => Math.max(x, y)),
  ];
  const branchSize = ends(grown.map((layer) => layer.branchSize));
  const change = ends(grown.map((layer) => layer.change));
  const from = ([least, most]: readonly [number, number]) => (least === most ? `${most}` : `${least} to ${most}`);
  const corrections = grown[0]!.diversityOf === 'corrections';
  const statement =
    `On ${PROBES} normal random inputs a layer, with the weights as written, ${anchor === 'folded' ? 'the corrections of the chosen experts' : 'the routed branch'} gives ` +
    `${from(branchSize)} of the RMS of the dense feed-forward's output, and the whole layer differs from that by ${from(change)} of it. ` +
    `Diversity is that of ${corrections ? `the corrections${anchor === 'folded' ? ', without the dense weights that they are folded into' : ''}` : 'the experts’ down projections'}.`;
  return { branchSize, change, statement };
}

function checkFigures(value: unknown, name: string): void {
  if (typeof value === 'number' && !Number.isFinite(value)) {
    throw new EspalierError(
      'E_TENSOR_VALUE',
      `${name} would be ${value}.`,
      'Look at the weights of the source: what was computed from them is no number.',
    );
  }
  if (typeof value !== 'object' || value === null) return;
  for (const [key, inner] of Object.entries(value)) checkFigures(inner, `${name}.${key}`);
}

/** Runtimes differ in the last digits of what goes through an exponential. */
function digits(value: number): number {
  return Number(value.toPrecision(6));
}

/** The same receipt wherever the source lies. */
function lastPart(name: string): string {
  return name.split(/[/\\]/).filter(Boolean).at(-1) ?? name;
}

function statementOf({ text, tokens, maxRelative, meanKl, top1Agreement }: Deviation): string {
  const same = `${(100 * top1Agreement).toFixed(1)} %`;
  return (
    `Over ${tokens} tokens ${text === 'token numbers' ? 'of no meaning' : 'of text'} the grown model's logits differ from the dense model's by at most ${maxRelative} of the largest, ` +
    `by a mean KL divergence of ${meanKl} nats, and its likeliest token is the same in ${same} of the positions.`
  );
}
