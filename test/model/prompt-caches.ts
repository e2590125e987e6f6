/** Models that recent prompts are tried with, and what they computed. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import type { Decoder } from '../../src/model/decoder.ts';
import { Generation, type GenerationResult } from '../../src/model/generate/generation.ts';
import type { GenerateOptions } from '../../src/model/generate/options.ts';
import type { PromptCache } from '../../src/model/generate/prompt-cache.ts';
import type { KvCache } from '../../src/model/kv-cache.ts';
import type { LocalModel } from '../../src/model/model.ts';
import { type OpenOptions, openLocal } from '../../src/open-local.ts';
import { modelTarget } from '../files.ts';

export const device = await WasmDevice.create({ debug: true });
const target = await modelTarget('models/nano-base');
export const open = (options: OpenOptions = {}): Promise<LocalModel> => openLocal(target, { device, ...options });
export const nano = await open();

export const decoders = new Map<string, Decoder>([
  ['nano-base', nano.decoder],
  // to eight bits, which rows agree on by groups where the host has relaxed SIMD, and to sixteen
  ['nano-base in q4_0, int8', (await open({ quantise: 'q4_0' })).decoder],
  ['nano-base in q8_0, int8', (await open({ quantise: 'q8_0' })).decoder],
]);
for (const { ropes, config } of decoders.values()) ropes.forward(config.maxPositions);

export const idsOf = ({ config }: Decoder, count: number, seed: number): number[] =>
  Array.from({ length: count }, (_, i) => 1 + ((i * 7919 + seed * 104729) % (config.vocabSize - 1)));

export const context = (decoder: Decoder, prompts: PromptCache | null = null) => {
  return { decoder, tokenizer: nano.tokenizer, eosIds: new Set<number>(), prompts };
};

/** Rows that went through the layers in passes of generations. */
export const passed = { rows: 0 };
const counted = (decoder: Decoder): void => {
  const each = decoder.forwardEach.bind(decoder);
  decoder.forwardEach = (parts, options) => {
    passed.rows += parts.reduce((sum, { ids }) => sum + ids.length, 0);
    return each(parts, options);
  };
};
for (const decoder of decoders.values()) counted(decoder);

export const generate = (
  decoder: Decoder,
  prompts: PromptCache | null,
  ids: readonly number[],
  options: GenerateOptions = {},
): Promise<GenerationResult> => new Generation(context(decoder, prompts), ids, { maxTokens: 4, ...options }).result();

/** All that does not depend on the clock, nor on what was there. */
export const facts = ({ text, tokens, finishReason }: GenerationResult) => ({ text, tokens, finishReason });

export const contents = async (decoder: Decoder, cache: KvCache) => {
  const layers = Array.from({ length: decoder.config.nLayers }, (_, layer) => layer);
  const sides = layers.flatMap((layer) => [cache.keys(layer), cache.values(layer)]);
  return device.read(sides.map((side) => device.rows(side, 0, cache.length)));
};

export const on = (title: string, run: () => Promise<void>) =>
  test(title, async () => {
    const resting = device.stats().tensors;
    const mark = device.mark();
    passed.rows = 0;
    await run();
    assert.is(device.stats().tensors, resting, 'tensors left');
    assert.equal(device.mark(), mark, 'scratch left');
  });

/** The last cut that leaves something over, which is alone only where it would be. */
export function reusable(length: number, common: number, block: number): number {
  let best = 0;
  for (let row = 1; row <= common && row < length; row++) {
    if (row % 512 === 0 || ((row % 512) % block === 0 && row < length - 1)) best = row;
  }
  return best;
}

/** Until what nobody waits for is over. */
export const settled = async (resting: number): Promise<void> => {
  while (device.stats().tensors > resting) await new Promise((resolve) => setTimeout(resolve, 1));
};
