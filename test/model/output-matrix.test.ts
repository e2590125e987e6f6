/** What logits come from: the embedding, a matrix of its own whatever the flag says, or nothing. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { settleTie } from '../../src/checkpoint/safetensors/names.ts';
import type { TensorTable } from '../../src/checkpoint/tensor-table.ts';
import type { TensorEntry } from '../../src/checkpoint/types.ts';
import { openLocal } from '../../src/open-local.ts';
import { bytesSource } from '../../src/runtime/files/model-files.ts';
import { renamed } from '../checkpoint/build.ts';
import { tinyFiles } from '../engine/tiny-model.ts';
import { rejects } from '../errors.ts';
import { grown, opened, storedTensor } from '../grow/growth.ts';

const files = await tinyFiles(); // of a model that is not tied
const IDS = [1, 5, 9, 2, 7];

function withTie(tied: boolean, weights: Uint8Array = files['model.safetensors']!): Record<string, Uint8Array> {
  const config = JSON.parse(new TextDecoder().decode(files['config.json']));
  const json = new TextEncoder().encode(JSON.stringify({ ...config, tie_word_embeddings: tied }));
  return { ...files, 'config.json': json, 'model.safetensors': weights };
}

async function logprobs(target: Record<string, Uint8Array>): Promise<(number | null)[]> {
  const model = await openLocal(target, { precision: 'exact' });
  try {
    return (await model.score(IDS)).map(({ logprob }) => logprob);
  } finally {
    model.close();
  }
}

test('an output matrix of its own is used although the flag says tied, and grown', async () => {
  const own = await logprobs(withTie(false));
  assert.equal(await logprobs(withTie(true)), own);
  const tied = await logprobs(
    withTie(
      true,
      renamed(files['model.safetensors']!, (n) => (n === 'lm_head.weight' ? null : n)),
    ),
  );
  assert.ok(Math.abs(tied[1]! - own[1]!) > 1e-3);
  const growth = await grown(withTie(true), { experts: 4, topK: 2, lanes: 1 });
  await opened(growth.files, async (moe) => {
    assert.is(moe.config.tiedEmbeddings, false);
    await opened(withTie(true), async (dense) => {
      assert.equal(await storedTensor(moe, 'lm_head.weight'), await storedTensor(dense, 'lm_head.weight'));
    });
  });
});

test('the export of a base model embeds, and says why it does not predict', async () => {
  const bare = renamed(files['model.safetensors']!, (name) =>
    name === 'lm_head.weight' ? null : name.replace(/^model\./, ''),
  );
  const [model, whole] = [await openLocal(withTie(false, bare)), await openLocal(withTie(false))];
  assert.equal(await model.embed(IDS), await whole.embed(IDS));
  assert.match(model.notes[0]!, 'no output matrix');
  const error = await rejects('E_TENSOR_MISSING', () => model.score(IDS));
  assert.match(error.hint, 'embed()');
  await rejects('E_TENSOR_MISSING', () => model.generate(IDS).result());
  model.close();
  whole.close();
});

test('embedding and output matrix are compared to their last byte, until the signal fires', async () => {
  const BYTES = 3 * (1 << 20) + 6;
  let reads = 0;
  const entry = (name: string, bytes: Uint8Array): TensorEntry => {
    const source = bytesSource(name, bytes);
    const readInto: typeof source.readInto = async (offset, target) => {
      reads++;
      await source.readInto(offset, target);
    };
    const place = { offset: 0, byteLength: BYTES, source: { ...source, readInto } };
    return { name, type: 'bf16', shape: [BYTES / 2, 1], rowOrder: 'plain', ...place };
  };
  const [one, other] = ['model.embed_tokens.weight', 'lm_head.weight'];
  const table = (last: number): TensorTable => {
    const bytes = new Uint8Array(BYTES);
    bytes[BYTES - 1] = last;
    const tensors = [entry(one!, new Uint8Array(BYTES)), entry(other!, bytes)];
    return { tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])), unsupported: new Map() };
  };
  assert.is((await settleTie(table(0), true)).tied, true);
  assert.is((await settleTie(table(1), true)).tied, false);
  reads = 0;
  const late = new AbortController();
  const pending = settleTie(table(0), true, late.signal);
  late.abort();
  await rejects('E_ABORTED', () => pending);
  assert.ok(reads <= 4, `${reads} reads`);
});

test.run();
