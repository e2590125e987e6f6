/** Every architecture, file format and stored type, as tiny models with random weights, against Hugging Face transformers. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { dequantise } from '../../src/checkpoint/quantised/dequantise.ts';
import { repackRows } from '../../src/checkpoint/quantised/repack.ts';
import { storedKind } from '../../src/checkpoint/quantised/stored-types.ts';
import type { Checkpoint, TensorEntry } from '../../src/checkpoint/types.ts';
import { DOT } from '../../src/device/wasm/kernels.ts';
import { hasRelaxedSimd } from '../../src/device/wasm/load-kernels.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { Tokenizer } from '../../src/model/text/tokenizer.ts';
import { openLocal } from '../../src/open-local.ts';
import { bytesSource } from '../../src/runtime/files/model-files.ts';
import { dequantiseComputed } from '../checkpoint/computed.ts';
import { Worst } from '../device/devices.ts';
import { worstError } from '../device/reference.ts';
import { readText } from '../files.ts';
import { distance, runAll } from './run.ts';
import { logitsOf, tinyDecoder, tinyNames, tinyReference, tinyTarget } from './tiny.ts';

const worst = new Worst();
const devices = [
  ['default', await WasmDevice.create()],
  ['plain SIMD', await WasmDevice.create({ relaxed: false })],
] as const;

/**
 * Types that are repacked with a loss: q5_1 and K-quants, to q8_0 or q4_1. Eight bits a block of 32 normal numbers move a weight
 * by about max / 127 / sqrt(12), or 0.5 % of its spread; three products one after another (q and k twice, in the scores) sum to
 * about 1 % of the spread of the logits, and a few times that at the worst of a thousand logits.
 */
const LOSSY = /-(q5_1|q[456]_k)$/;
/** Stored in blocks that meet int8 activations as they are. */
const BLOCKS = /-(q8_0|q4_0|q4_1)$/;
/** Those whose references have 32 tokens more. */
const GREEDY = /smollm3|gemma3/;
const LOGITS = 2e-4; // of the largest
const HIDDEN = 1e-3; // relative
const LOSSY_LOGITS = 5e-2;
const LOSSY_HIDDEN = 3e-2;
// tiny models have only outer layers, which get 16 bits: eight bits show in the matrix of the logits
const INT8_LOGITS = 3e-2;
const INT8_HIDDEN = 1e-3;
const SAME = 1e-5; // decode against prefill

if (hasRelaxedSimd()) {
  for (const dot of ['relaxed16', 'relaxed32'] as const) {
    const device = await WasmDevice.create({ tuning: { dot: DOT[dot] } });
    test(`gguf-qwen2-q4_0 with int8 activations is near transformers [${dot}]`, () => int8('gguf-qwen2-q4_0', device));
    test.after(() => device.close());
  }
}

async function int8(name: string, device: WasmDevice): Promise<void> {
  const want = await tinyReference(name);
  const decoder = await tinyDecoder(name, device, 'int8');
  const got = await runAll(decoder, want.ids);
  const error = worstError(got.logits, want.logits);
  assert.ok(worst.within('int8 logits, of the largest', error, INT8_LOGITS), `${error}`);
  // were activations not quantised, this pass would say nothing
  assert.ok(error > 1e-5, `${error}`);
  for (const [i, state] of want.hidden.entries()) {
    const away = distance(got.hidden[i]!, state);
    assert.ok(worst.within('int8 hidden states, relative', away, INT8_HIDDEN), `${i}: ${away}`);
  }
  decoder.dispose();
}

/** The likeliest token of the last row of logits. */
function best(logits: Float32Array, vocabSize: number): number {
  const last = logits.subarray(-vocabSize);
  return last.indexOf(Math.max(...last));
}

/** The same checkpoint with its blocks as f32: what they say, or what they say once repacked. */
async function asF32(checkpoint: Checkpoint, repacked: boolean): Promise<Checkpoint> {
  const tensors = new Map(checkpoint.tensors);
  for (const [name, entry] of tensors) {
    const { device: to, repack } = storedKind(entry.type);
    if (repack === null) continue;
    const n = entry.shape.reduce((a, b) => a * b, 1);
    const stored = new Uint8Array(entry.byteLength);
    await entry.source.readInto(entry.offset, stored);
    const values = repacked
      ? dequantiseComputed(to, repackRows(entry.type, stored, n), n)
      : dequantise(entry.type, stored, n);
    const source = bytesSource(name, new Uint8Array(values.buffer));
    tensors.set(name, { ...entry, type: 'f32', source, offset: 0, byteLength: 4 * n });
  }
  return { ...checkpoint, tensors, tokenizer: () => checkpoint.tokenizer(), close: () => checkpoint.close() };
}

test('all 41 models are there', () => assert.is(tinyNames.length, 41));

for (const [where, device] of devices) {
  for (const name of tinyNames) {
    test(`${name} equals transformers [${where}]`, async () => {
      const want = await tinyReference(name);
      assert.ok(want.ids.length >= 8 && want.hidden.length >= 2);
      const before = device.stats().tensors;
      const decoder = await tinyDecoder(name, device, 'exact');
      assert.is(want.hidden.length, decoder.config.nLayers + 1);
      const got = await runAll(decoder, want.ids);
      const kind = LOSSY.test(name) ? 'repacked with loss, ' : '';
      const error = worstError(got.logits, want.logits);
      assert.ok(worst.within(`${kind}logits, of the largest`, error, kind ? LOSSY_LOGITS : LOGITS), `${error}`);
      for (const [i, state] of want.hidden.entries()) {
        const away = distance(got.hidden[i]!, state);
        assert.ok(worst.within(`${kind}hidden states, relative`, away, kind ? LOSSY_HIDDEN : HIDDEN), `${i}: ${away}`);
      }

      const cache = decoder.cache();
      const rows: number[] = [];
      for (const id of want.ids) rows.push(...(await logitsOf(decoder, cache, [id])));
      const apart = worstError(rows, got.logits);
      assert.ok(worst.within('decode token by token against prefill, of the largest', apart, SAME), `${apart}`);
      cache.dispose();

      decoder.dispose();
      assert.is(device.stats().tensors, before);
    });

    if (GREEDY.test(name)) {
      test(`${name} writes the tokens that transformers writes [${where}]`, async () => {
        const { ids, greedy } = await tinyReference(name);
        const decoder = await tinyDecoder(name, device, 'exact');
        const cache = decoder.cache();
        const prompt = ids.slice(0, 24);
        const found = [best(await logitsOf(decoder, cache, prompt), decoder.config.vocabSize)];
        while (found.length < 32) {
          found.push(best(await logitsOf(decoder, cache, [found.at(-1)!]), decoder.config.vocabSize));
        }
        assert.equal(found, greedy);
        cache.dispose();
        decoder.dispose();
      });
    }

    if (LOSSY.test(name)) {
      test(`${name}: the loss is the repacking’s alone [${where}]`, async () => {
        const want = await tinyReference(name);
        const run = async (change?: (c: Checkpoint) => Promise<Checkpoint>) => {
          const decoder = await tinyDecoder(name, device, 'exact', change);
          const all = await runAll(decoder, want.ids);
          decoder.dispose();
          return all.logits;
        };
        const original = worstError(await run((c) => asF32(c, false)), want.logits);
        assert.ok(worst.within('the file’s own weights: logits, of the largest', original, LOGITS), `${original}`);
        const repacked = worstError(await run(), await run((c) => asF32(c, true)));
        assert.ok(worst.within('repacked blocks against their f32: logits, of the largest', repacked, LOGITS));
      });
    }
    if (!BLOCKS.test(name)) continue;
    test(`${name} with int8 activations is near transformers [${where}]`, () => int8(name, device));
  }
}

/** llama.cpp's order of q and k rows: halves of each head become interleaved pairs. Vectors too. */
async function permuted(entry: TensorEntry, heads: number): Promise<TensorEntry> {
  const rows = entry.shape[0]!;
  const size = entry.byteLength / rows;
  const stored = new Uint8Array(entry.byteLength);
  await entry.source.readInto(entry.offset, stored);
  const out = new Uint8Array(entry.byteLength);
  const half = rows / heads / 2;
  for (let head = 0, to = 0; head < heads; head++) {
    for (let j = 0; j < half; j++) {
      for (let side = 0; side < 2; side++, to += size) {
        const from = ((head * 2 + side) * half + j) * size;
        out.set(stored.subarray(from, from + size), to);
      }
    }
  }
  return { ...entry, source: bytesSource(entry.name, out), offset: 0, rowOrder: 'llama-permuted' };
}

async function permute(checkpoint: Checkpoint, biases: TensorEntry['rowOrder']): Promise<Checkpoint> {
  const { nHeads, nKvHeads } = checkpoint.config;
  const tensors = new Map(checkpoint.tensors);
  for (const [name, entry] of tensors) {
    const part = /\.([qk])_proj\.(weight|bias)$/.exec(name);
    if (!part) continue;
    const changed = await permuted(entry, part[1] === 'q' ? nHeads : nKvHeads);
    tensors.set(name, part[2] === 'bias' ? { ...changed, rowOrder: biases } : changed);
  }
  return { ...checkpoint, tensors, tokenizer: () => checkpoint.tokenizer(), close: () => checkpoint.close() };
}

test('biases of q and k in llama.cpp’s order give the same model', async () => {
  const [, device] = devices[0];
  const { ids } = await tinyReference('llama-bias');
  const plain = await tinyDecoder('llama-bias', device, 'exact');
  const want = (await runAll(plain, ids)).logits;
  plain.dispose();
  const moved = await tinyDecoder('llama-bias', device, 'exact', (c) => permute(c, 'llama-permuted'));
  assert.equal((await runAll(moved, ids)).logits, want);
  moved.dispose();
  // and it matters: biases left as they stand give another model
  const wrong = await tinyDecoder('llama-bias', device, 'exact', (c) => permute(c, 'plain'));
  assert.ok(worstError((await runAll(wrong, ids)).logits, want) > 1e-3);
  wrong.dispose();
});

test('a GGUF file of gemma3 writes the text that llama.cpp writes, and reads texts as it does', async () => {
  for (const name of ['gguf-gemma3-f16', 'gguf-gemma3-q8_0']) {
    const want = JSON.parse(await readText(`test/fixtures/tiny/${name}/llama.json`)) as {
      prompt: string;
      ids: number[];
      text: string;
      texts: string[];
      encoded: number[][];
    };
    const model = await openLocal(await tinyTarget(name), { precision: 'exact' });
    assert.equal([...model.tokenizer.encode(want.prompt)], want.ids);
    const { text } = await model.generate(want.prompt, { maxTokens: 32 }).result();
    assert.is(text, want.text);
    // its vocabulary, and that in Gemma's tokenizer.json
    const tokenizerJson = JSON.parse(await readText(`test/fixtures/tiny/${name}/tokenizer.json`)) as object;
    const fromJson = Tokenizer.create({ tokenizerJson, tokenizerConfig: {}, chatTemplate: null });
    for (const tokenizer of [model.tokenizer, fromJson]) {
      for (const [i, some] of want.texts.entries()) {
        const ids = [...tokenizer.encode(some, { addSpecialTokens: false })];
        assert.equal(ids, want.encoded[i]!, some);
        assert.is(tokenizer.decode(ids), some.replaceAll('▁', ' '));
      }
    }
    model.close();
  }
});

test('q and k of GGUF llama and smollm3 are marked as permuted, those of others are not', async () => {
  for (const [name, want] of [
    ['gguf-llama-f16', 'llama-permuted'],
    ['gguf-qwen2-f16', 'plain'],
    ['gguf-qwen3-bf16', 'plain'],
    ['gguf-smollm3-f16', 'llama-permuted'],
    ['gguf-gemma3-f16', 'plain'],
  ] as const) {
    const checkpoint = await openCheckpoint(await tinyTarget(name));
    for (const part of ['q_proj.weight', 'k_proj.weight', ...(name.includes('qwen2') ? ['q_proj.bias'] : [])]) {
      assert.is(checkpoint.tensors.get(`model.layers.0.self_attn.${part}`)!.rowOrder, want, `${name} ${part}`);
    }
    assert.is(checkpoint.tensors.get('model.layers.0.self_attn.v_proj.weight')!.rowOrder, 'plain');
    await checkpoint.close();
  }
});

test('the worst figures', () => {
  worst.print();
  for (const [, device] of devices) device.close();
});
test.run();
