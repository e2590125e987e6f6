// device: webgpu — few rows have kernels of their own there
/** Texts that are written at once on a GPU: each what it becomes alone, to the bit, though prompts of few tokens would fill a pass together. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openDevice } from '../../src/device/open-device.ts';
import { GenerationBatch } from '../../src/model/generate/batch.ts';
import { Generation, type GenerationResult } from '../../src/model/generate/generation.ts';
import type { GenerateOptions } from '../../src/model/generate/options.ts';
import { openLocal } from '../../src/open-local.ts';
import { modelTarget } from '../files.ts';
import { tinyDecoder } from './tiny.ts';

const device = await openDevice('webgpu', { debug: true });
const nano = await openLocal(await modelTarget('models/nano-base'), { device: 'wasm' });
const decoder = await tinyDecoder('llama-gqa', device, 'exact');
const context = { decoder, tokenizer: nano.tokenizer, eosIds: new Set<number>() };
const write = (ids: unknown, options: GenerateOptions = {}) => new Generation(context, ids as number[], options);

const prompt = (length: number, seed: number): number[] =>
  Array.from({ length }, (_, i) => 3 + ((i * 7 + seed * 13) % (decoder.config.vocabSize - 3)));
const facts = ({ tokens }: Pick<GenerationResult, 'tokens'>) =>
  tokens.map(({ id, logprob, entropy }) => [id, logprob, entropy]);

test('what a text becomes does not depend on its company', async () => {
  // each alone has few rows, and all of them together many
  const prompts = [9, 10, 12, 14].map(prompt);
  const options = { maxTokens: 6, temperature: 0, stopAtEos: false } as const;
  const alone: unknown[] = [];
  for (const ids of prompts) alone.push(facts(await write(ids, options).result()));
  const together = await new GenerationBatch(prompts, { ...options, batch: 4 }, write).results();
  assert.equal(together.map(facts), alone);
  assert.not.ok(decoder.rowsIndependent);
});

test('nothing is left', () => {
  decoder.dispose();
  assert.is(device.stats().tensors, 0, device.liveTensors().join('\n'));
  device.close();
  nano.close();
});

test.run();
