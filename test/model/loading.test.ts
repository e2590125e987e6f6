/** Opening models: progress, aborts, weights that are no numbers, and memory. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { Checkpoint, StoredType, TensorEntry } from '../../src/checkpoint/types.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { byteLengthOf } from '../../src/element-types.ts';
import type { EspalierError } from '../../src/errors.ts';
import { inspectModel } from '../../src/inspect.ts';
import { loadWeights } from '../../src/model/weights.ts';
import { openLocal } from '../../src/open-local.ts';
import { bytesSource } from '../../src/runtime/files/model-files.ts';
import { rejects } from '../errors.ts';
import { exists, modelTarget, sizeOf } from '../files.ts';
import { shared } from './shared-files.ts';
import { moeNames, tinyNames, tinyTarget } from './tiny.ts';

const NANO = 'models/nano-base';
const nano = await modelTarget(NANO);
const device = await WasmDevice.create({ debug: true });

const on = (title: string, run: () => Promise<void>) =>
  test(title, async () => {
    await run();
    assert.is(device.stats().tensors, 0, `left:\n${device.liveTensors().join('\n')}`);
    assert.is(device.stats().bytes, 0);
  });

// ---- progress

on('progress rises with every tensor and ends at the whole', async () => {
  const calls: [number, number][] = [];
  const model = await openLocal(nano, { device, onProgress: (loaded, total) => calls.push([loaded, total]) });
  const total = calls[0]![1];
  // what is read, and no more than the file
  const size = await sizeOf(`${NANO}/model.safetensors`);
  assert.ok(total < size && total > 0.99 * size, `${total} of ${size}`);
  assert.is(calls.length, device.stats().tensors);
  let before = 0;
  for (const [loaded, of] of calls) {
    assert.is(of, total);
    assert.ok(loaded > before);
    before = loaded;
  }
  assert.is(before, total);
  model.close();
});

on('progress ends at the whole for every tiny model, whatever else its file holds', async () => {
  for (const name of [...tinyNames, ...moeNames]) {
    const checkpoint = await openCheckpoint(await tinyTarget(name));
    // tensors that no model reads, and the matrix of the logits of a tied model once more
    const tensors = new Map(checkpoint.tensors);
    const embedding = tensors.get('model.embed_tokens.weight')!;
    tensors.set('model.layers.0.self_attn.rotary_emb.inv_freq', { ...embedding, name: 'unread' });
    if (checkpoint.config.tiedEmbeddings) tensors.set('lm_head.weight', { ...embedding, name: 'lm_head.weight' });
    let last: [number, number] = [0, -1];
    const onProgress = (loaded: number, total: number) => {
      assert.ok(loaded > last[0] && loaded <= total);
      last = [loaded, total];
    };
    const weights = await loadWeights(device, { ...checkpoint, tensors } as Checkpoint, { onProgress });
    assert.is(last[0], last[1], name);
    weights.dispose();
    await checkpoint.close();
  }
});

// ---- aborts

on('an abort while loading leaves nothing', async () => {
  const fired = new AbortController();
  fired.abort();
  await rejects('E_ABORTED', () => openLocal(nano, { device, signal: fired.signal }));
  for (const after of [1, 5, 40, 73]) {
    const controller = new AbortController();
    let count = 0;
    await rejects('E_ABORTED', () =>
      openLocal(nano, {
        device,
        signal: controller.signal,
        onProgress: () => {
          if (++count === after) controller.abort();
        },
      }),
    );
    assert.is(count, after, 'it stops at once');
    assert.is(device.stats().tensors, 0);
  }
});

on('the experts of a stack are seen one by one', async () => {
  const checkpoint = await openCheckpoint(await tinyTarget('moe-mixtral'));
  let all = 0;
  const weights = await loadWeights(device, checkpoint, { onProgress: () => all++ });
  // eight experts of three projections are three tensors of the device
  const layers = checkpoint.config.moe!.layers.length;
  assert.is(all - device.stats().tensors, layers * 3 * (checkpoint.config.moe!.experts - 1));
  weights.dispose();
  for (let after = 1; after < all; after++) {
    const controller = new AbortController();
    let count = 0;
    const onProgress = () => {
      if (++count === after) controller.abort();
    };
    await rejects('E_ABORTED', () => loadWeights(device, checkpoint, { signal: controller.signal, onProgress }));
    assert.is(count, after, 'it stops at once');
    assert.is(device.stats().tensors, 0);
  }
  await checkpoint.close();
});

on('an abort while a tensor is read leaves nothing, and no other is read', async () => {
  const checkpoint = await openCheckpoint(nano);
  for (const after of [1, 5, 40]) {
    const controller = new AbortController();
    const begun = new Set<string>();
    const source = ({ name, source }: TensorEntry): TensorEntry['source'] => ({
      ...source,
      readInto: async (offset, target) => {
        begun.add(name);
        if (begun.size === after) controller.abort();
        await source.readInto(offset, target);
      },
    });
    const tensors = new Map(
      [...checkpoint.tensors].map(([name, entry]) => [name, { ...entry, source: source(entry) }]),
    );
    const bent = { ...checkpoint, tensors } as Checkpoint;
    await rejects('E_ABORTED', () => loadWeights(device, bent, { signal: controller.signal }));
    assert.is(begun.size, after);
    assert.is(device.stats().tensors, 0);
  }
  await checkpoint.close();
});

on('an error of the progress callback leaves nothing', async () => {
  try {
    await openLocal(nano, {
      device,
      onProgress: () => {
        throw new Error('mine');
      },
    });
    assert.unreachable();
  } catch (error) {
    assert.is((error as Error).message, 'mine');
  }
});

// ---- weights that are no numbers

type Edit = (bytes: Uint8Array, entry: TensorEntry) => void;
/** A checkpoint with one tensor's bytes changed. */
async function edited(checkpoint: Checkpoint, name: string, edit: Edit): Promise<Checkpoint> {
  const entry = checkpoint.tensors.get(name)!;
  const bytes = new Uint8Array(entry.byteLength);
  await entry.source.readInto(entry.offset, bytes);
  edit(bytes, entry);
  const tensors = new Map(checkpoint.tensors);
  tensors.set(name, { ...entry, source: bytesSource(name, bytes), offset: 0 });
  return { ...checkpoint, tensors } as Checkpoint;
}

const F32 = { NaN: 0x7fc00000, Infinity: 0x7f800000, '-Infinity': 0xff800000, 'signalling NaN': 0x7f800001 };
const F16 = { NaN: 0x7e00, Infinity: 0x7c00, '-Infinity': 0xfc00, 'signalling NaN': 0x7c01 };
const BF16 = { NaN: 0x7fc0, Infinity: 0x7f80, '-Infinity': 0xff80, 'signalling NaN': 0x7f81 };
/** Where element or block `index` holds an f16 that scales or shifts it, and how many bytes it takes. */
const BLOCKS: Partial<Record<StoredType, readonly (readonly [what: string, at: number])[]>> = {
  q8_0: [['scale', 0]],
  q4_0: [['scale', 0]],
  q4_1: [
    ['scale', 0],
    ['minimum', 2],
  ],
  q5_0: [['scale', 0]],
  q5_1: [
    ['scale', 0],
    ['minimum', 2],
  ],
  q4_k: [
    ['scale', 0],
    ['minimum', 2],
  ],
  q5_k: [
    ['scale', 0],
    ['minimum', 2],
  ],
  q6_k: [['scale', 208]],
};

const where: [name: string, model: string, tensor: string][] = [
  ['f32 matrix', 'gguf-llama-f32', 'model.layers.0.mlp.gate_proj.weight'],
  ['f16 matrix', 'gguf-llama-f16', 'model.layers.0.self_attn.q_proj.weight'],
  ['bf16 matrix', 'gguf-llama-bf16', 'model.layers.0.self_attn.o_proj.weight'],
  ['bf16 embedding', 'llama-bf16', 'model.embed_tokens.weight'],
  ['bf16 logits', 'llama-bf16', 'lm_head.weight'],
  ['f32 norm', 'llama-gqa', 'model.layers.1.post_attention_layernorm.weight'],
  ['f16 norm', 'llama-f16', 'model.layers.0.input_layernorm.weight'],
  ['bf16 last norm', 'llama-bf16', 'model.norm.weight'],
  ['bf16 bias', 'llama-bias', 'model.layers.1.self_attn.k_proj.bias'],
  ['norm of keys', 'qwen3', 'model.layers.1.self_attn.k_norm.weight'],
  ['q8_0', 'gguf-llama-q8_0', 'model.layers.1.mlp.down_proj.weight'],
  ['q4_0', 'gguf-llama-q4_0', 'model.layers.0.mlp.down_proj.weight'],
  ['q4_1', 'gguf-llama-q4_1', 'model.layers.0.self_attn.k_proj.weight'],
  ['q5_0', 'gguf-llama-q5_0', 'model.layers.0.mlp.up_proj.weight'],
  ['q5_1', 'gguf-llama-q5_1', 'model.layers.0.mlp.up_proj.weight'],
  ['q4_k', 'gguf-llama-q4_k', 'model.layers.0.self_attn.q_proj.weight'],
  ['q5_k', 'gguf-qwen2-q5_k', 'model.layers.0.mlp.gate_proj.weight'],
  ['q6_k', 'gguf-llama-q6_k', 'model.layers.0.mlp.down_proj.weight'],
];

const covered = new Set<string>();
for (const [title, name, tensor] of where) {
  on(`NaN and infinities in ${title} are refused by name`, async () => {
    const checkpoint = await openCheckpoint(await tinyTarget(name));
    const { type, shape, byteLength } = checkpoint.tensors.get(tensor)!;
    covered.add(type);
    assert.is(type, title.split(' ')[0] === 'norm' ? type : title.split(' ')[0]);
    const n = shape.reduce((a, b) => a * b, 1);
    const places: [string, number, Record<string, number>, number][] = [];
    const blocks = BLOCKS[type];
    if (blocks) {
      const width = { q4_k: 256, q5_k: 256, q6_k: 256 }[type as string] ?? 32;
      const size = byteLengthOf(type, width);
      for (const [what, at] of blocks) {
        for (const block of [0, n / width - 1]) places.push([`${what} of block ${block}`, block * size + at, F16, 2]);
      }
    } else {
      const size = type === 'f32' ? 4 : 2;
      const bits = { f32: F32, f16: F16, bf16: BF16 }[type as 'f32'];
      for (const i of [0, Math.floor(n / 2), n - 1]) places.push([`element ${i}`, i * size, bits, size]);
    }
    for (const [place, at, bits, size] of places) {
      assert.ok(at + size <= byteLength);
      for (const [what, value] of Object.entries(bits)) {
        const broken = await edited(checkpoint, tensor, (bytes) => {
          const view = new DataView(bytes.buffer);
          if (size === 4) view.setUint32(at, value, true);
          else view.setUint16(at, value, true);
        });
        let error: EspalierError;
        try {
          error = await rejects('E_TENSOR_VALUE', () => loadWeights(device, broken));
        } catch (problem) {
          throw new Error(`${what} in ${place}: ${(problem as Error).message}`);
        }
        assert.match(error.message, tensor, `${place}: ${what}`);
        assert.is(device.stats().tensors, 0, `${place}: ${what}`);
      }
    }
    // the same file as it is can be read, and so can the largest finite numbers
    const weights = await loadWeights(device, checkpoint);
    weights.dispose();
    if (!blocks) {
      const large = await edited(checkpoint, tensor, (bytes) => {
        const view = new DataView(bytes.buffer);
        if (type === 'f32') view.setUint32(0, 0x7f7fffff, true);
        else view.setUint16(0, type === 'f16' ? 0x7bff : 0x7f7f, true);
      });
      (await loadWeights(device, large)).dispose();
    }
    await checkpoint.close();
  });
}

test('every stored type was covered', () => {
  assert.equal([...covered].sort(), [
    'bf16',
    'f16',
    'f32',
    'q4_0',
    'q4_1',
    'q4_k',
    'q5_0',
    'q5_1',
    'q5_k',
    'q6_k',
    'q8_0',
  ]);
});

// ---- memory

test('a limit on memory is kept, and the device goes on', async () => {
  const small = await WasmDevice.create({ memoryLimit: 8 << 20 });
  const error = await rejects('E_OUT_OF_MEMORY', () => openLocal(nano, { device: small }));
  assert.ok(error.hint.length > 0);
  assert.is(small.stats().tensors, 0);
  assert.ok(small.stats().peakBytes <= 8 << 20);
  const checkpoint = await openCheckpoint(await tinyTarget('llama-gqa'));
  const weights = await loadWeights(small, checkpoint);
  weights.dispose();
  await checkpoint.close();
  // all that there was can be had again
  const most = small.tensor('f32', [1 << 20]);
  most.dispose();
  small.close();

  // room for the weights but for no long text
  const tight = await WasmDevice.create({ memoryLimit: 24 << 20 });
  const model = await openLocal(nano, { device: tight });
  await model.score('Once upon a time');
  const resting = tight.stats().tensors;
  await rejects('E_OUT_OF_MEMORY', () => model.score(Array(2000).fill(7)));
  assert.is(tight.stats().tensors, resting);
  await rejects('E_OUT_OF_MEMORY', () => model.generate('Once', { maxTokens: 2000 }).result());
  assert.is(tight.stats().tensors, resting);
  const { text } = await model.generate('Once upon a time', { maxTokens: 12 }).result();
  const plain = await openLocal(nano);
  assert.is(text, (await plain.generate('Once upon a time', { maxTokens: 12 }).result()).text);
  plain.close();
  model.close();
  tight.close();
});

const gguf = `${shared}models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf`;
for (const [name, path, file] of [
  ['nano-base, safetensors', NANO, `${NANO}/model.safetensors`],
  ['SmolLM2, GGUF', gguf, gguf],
] as const) {
  test(`loading ${name} takes little more than the file`, async () => {
    if (!(await exists(file))) {
      console.log(`  skipped: ../shared is not here (${name})`);
      return;
    }
    const own = await WasmDevice.create();
    assert.is(own.stats().peakBytes, 0);
    const model = await openLocal(await modelTarget(path), { device: own });
    const { peakBytes, bytes } = own.stats();
    const size = await sizeOf(file);
    console.log(
      `  ${name}: peak ${(peakBytes / size).toFixed(3)} and weights ${(bytes / size).toFixed(3)} of the file`,
    );
    assert.ok(peakBytes > bytes && bytes > 0.9 * size);
    assert.ok(peakBytes < 1.2 * size, `${peakBytes} for ${size}`);
    model.close();
    own.close();
  });
}

on('inspecting foretells the memory of the weights', async () => {
  let worst = 0;
  for (const name of [...tinyNames, 'nano-base']) {
    const target = name === 'nano-base' ? nano : await tinyTarget(name);
    const { memory } = await inspectModel(target);
    const checkpoint = await openCheckpoint(target);
    const weights = await loadWeights(device, checkpoint);
    const { bytes } = device.stats();
    worst = Math.max(worst, Math.abs(memory!.weightBytes / bytes - 1));
    assert.ok(worst < 1e-3, `${name}: ${memory!.weightBytes} foretold, ${bytes} taken`);
    weights.dispose();
    await checkpoint.close();
  }
  console.log(`  memory of weights foretold within ${worst.toExponential(1)} (bound 1e-3)`);
});

on('opening and closing again and again takes the same memory', async () => {
  (await openLocal(nano, { device })).close();
  const { peakBytes } = device.stats();
  for (let i = 0; i < 3; i++) (await openLocal(nano, { device })).close();
  assert.is(device.stats().peakBytes, peakBytes);
});

// ---- sources
test('done', () => device.close());
test.run();
