import type { Checkpoint } from '../checkpoint/types.ts';
import type { CopiedRange } from './copies.ts';
import type { GroupRecord } from './layout.ts';
import type { ExpertSizes } from './output-config.ts';
import type { Fit } from './targets.ts';
import type { GrowPlan, LayerRecord } from './types.ts';
import type { Deviation } from './verify.ts';

/** What a sceptic can check of a grown model. It holds no times, so that the same job gives the same receipt. */
export interface Receipt {
  readonly receipt: 'espalier-grow';
  readonly version: 1;
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
  /** What was decided for the caller, and why. */
  readonly notes: readonly string[];
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
  /** One a grown layer. */
  readonly grown: readonly LayerRecord[];
  /** Source tensors that were copied byte for byte, each as often as the layout has it. */
  readonly copied: readonly CopiedRange[];
  /** Measured on the files as written, opened again; null when that was left out. */
  readonly deviation: (Deviation & { readonly statement: string }) | null;
}

export function receiptOf(facts: {
  readonly checkpoint: Checkpoint;
  readonly plan: GrowPlan;
  readonly fit: Fit;
  readonly sizes: ExpertSizes;
  readonly files: Receipt['files'];
  readonly records: readonly GroupRecord[];
  readonly deviation: Deviation | null;
}): Receipt {
  const { checkpoint, plan, fit, sizes, files, records, deviation } = facts;
  const { name, format, config, byteLength: bytes } = checkpoint;
  return {
    receipt: 'espalier-grow',
    version: 1,
    source: { name: lastPart(name), format, architecture: config.architecture, bytes },
    plan,
    target: fit.target,
    type: fit.type,
    layers: fit.layers,
    sizes,
    notes: fit.notes,
    files,
    grown: records.flatMap(({ layer }) =>
      layer === null ? [] : [{ ...layer, outputDiversity: digits(layer.outputDiversity) }],
    ),
    copied: records.flatMap(({ copied }) => copied),
    deviation: deviation && { ...deviation, statement: statementOf(deviation) },
  };
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
