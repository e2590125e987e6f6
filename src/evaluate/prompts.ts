import { renderQuery } from '../datasets/templates.ts';
import type { Decoder } from '../model/decoder.ts';
import { indexOfLargest } from '../model/divergence.ts';
import type { KvCache } from '../model/kv-cache.ts';
import type { Setting } from './setting.ts';

/** Labels beside each other take more rows than there are positions. */
export function roomy(decoder: Decoder): KvCache {
  return decoder.cache(0, Number.MAX_SAFE_INTEGER);
}

/** Begin of text and instruction, then the shots in this order. Each is tokenised by itself, as in a pool. */
export function promptIds({ model, shots, options }: Setting, ids: readonly string[]): number[] {
  const texts = new Map(shots.map(({ id, text }) => [id, text]));
  return [
    ...model.encode(options.instruction ?? ''),
    ...ids.flatMap((id) => model.tokenizer.encode(texts.get(id)!, { addSpecialTokens: false })),
  ];
}

export function queryIds({ model, options }: Setting, input: string): number[] {
  return model.tokenizer.encode(renderQuery(options.template, input), { addSpecialTokens: false });
}

export function labelOf({ labels, options }: Setting, scores: { sums: Float64Array; greedy: number }): string {
  return labels[options.scoring === 'greedy' ? scores.greedy : indexOfLargest(scores.sums)]!;
}
