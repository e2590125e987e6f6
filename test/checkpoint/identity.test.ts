/** Identity of models: every byte of the weights counts, and nothing else does; it costs no second reading. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TensorDigests } from '../../src/checkpoint/identity.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import { writeCheckpoint } from '../../src/checkpoint/write/write-checkpoint.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { loadWeights } from '../../src/model/weights.ts';
import { ByteDigest } from '../../src/runtime/files/byte-digest.ts';
import { createHasher } from '../../src/runtime/files/hash.ts';
import type { FileStamp } from '../../src/runtime/files/source.ts';
import { memoryOutput } from '../../src/runtime/output/memory.ts';
import { rejects } from '../errors.ts';
import { readBytes } from '../files.ts';
import { numbers } from './jobs.ts';

const device = await WasmDevice.create();
type Files = Readonly<Record<string, Uint8Array>>;

const gguf = async (name: string): Promise<Files> => ({
  'model.gguf': await readBytes(`test/fixtures/tiny/${name}/model.gguf`),
});
const folder = async (name: string): Promise<Files> => {
  const at = `test/fixtures/tiny/${name}`;
  const names = ['config.json', 'model.safetensors'] as const;
  return Object.fromEntries(await Promise.all(names.map(async (file) => [file, await readBytes(`${at}/${file}`)])));
};

/** As `openLocal` takes it: by loading the weights. */
async function identityOf(files: Files, change: (checkpoint: Checkpoint) => Checkpoint = (c) => c): Promise<string> {
  const checkpoint = await openCheckpoint(files);
  try {
    const digests = new TensorDigests(change(checkpoint));
    (await loadWeights(device, digests.checkpoint)).dispose();
    return await digests.identity();
  } finally {
    await checkpoint.close();
  }
}

/** A copy with one bit turned. */
function flipped(files: Files, name: string, at: number, bit: number): Files {
  const bytes = files[name]!.slice();
  bytes[at]! ^= 1 << bit;
  return { ...files, [name]: bytes };
}

const hash = async (...parts: Uint8Array[]): Promise<string> => {
  const hasher = await createHasher('sha256');
  for (const part of parts) hasher.update(part);
  return hasher.hex();
};

test('a digest is SHA-256 over the SHA-256 of each MiB, however the bytes come', async () => {
  const MIB = 1 << 20;
  const next = numbers(3);
  for (const length of [0, 1, 4096, MIB - 1, MIB, MIB + 1, 3 * MIB + 17]) {
    const bytes = new Uint8Array(length).map(() => next());
    const sums: Uint8Array[] = [];
    for (let at = 0; at < length; at += MIB) {
      const hex = await hash(bytes.subarray(at, at + MIB));
      sums.push(Uint8Array.from(hex.match(/../g)!, (pair) => Number.parseInt(pair, 16)));
    }
    const want = await hash(...sums);
    for (const most of [length, 2.5 * MIB, MIB, 65_537]) {
      const digest = new ByteDigest();
      const shared = typeof SharedArrayBuffer === 'function' && most === MIB;
      const piece = new Uint8Array(shared ? new SharedArrayBuffer(MIB) : new ArrayBuffer(4 * MIB));
      for (let at = 0; at < length; at += most) {
        const part = bytes.subarray(at, at + most);
        piece.set(part);
        await digest.update(piece.subarray(0, part.byteLength));
        piece.fill(0xee);
      }
      assert.is(digest.length, length);
      assert.is(await digest.hex(), want, `${length} bytes by ${most}`);
    }
  }
});

test('one bit anywhere in any tensor is another model', async () => {
  const models: [string, Files][] = await Promise.all(
    ['llama-f16', 'llama-bias', 'moe-mixtral-fused'].map(async (name) => [name, await folder(name)] as [string, Files]),
  );
  for (const name of ['gguf-llama-q8_0', 'gguf-llama-q4_k']) models.push([name, await gguf(name)]);
  const next = numbers(28);
  let flips = 0;
  for (const [name, files] of models) {
    const file = Object.keys(files).at(-1)!;
    const before = await identityOf(files);
    const checkpoint = await openCheckpoint(files);
    for (const { name: tensor, offset, byteLength } of checkpoint.tensors.values()) {
      // between the places of which samples were once taken, or anywhere
      for (const at of [flips % 2 === 0 ? byteLength >> 2 : next() % byteLength]) {
        // a low bit, so that numbers stay finite
        const turned = flipped(files, file, offset + at - (at % 2), 0);
        assert.is.not(await identityOf(turned), before, `${name} ${tensor}, byte ${at}`);
        flips++;
      }
    }
    await checkpoint.close();
  }
  console.log(`  ${flips} flips in ${models.length} models`);
});

test('what is not a weight makes no difference; the configuration does', async () => {
  const files = await folder('llama-f16');
  const want = await identityOf(files);
  const checkpoint = await openCheckpoint(files);
  const tensors = [...checkpoint.tensors.values()];
  // the same tensors in another order, in several files, under another header
  const out = memoryOutput('copy');
  const groups = [...tensors].reverse().map(({ name, type, shape, source, offset, byteLength }) => ({
    name,
    tensors: [
      {
        ...{ name, type: type as 'f16', shape },
        bytes: async function* () {
          const bytes = new Uint8Array(byteLength);
          await source.readInto(offset, bytes);
          yield bytes;
        },
      },
    ],
  }));
  await writeCheckpoint(out, groups, { identity: 'x', maxShardBytes: 20_000, metadata: { other: 'words' } });
  await out.commit();
  await checkpoint.close();
  const copy = Object.fromEntries(
    await Promise.all(
      Object.entries(out.result()).map(async ([name, blob]) => [name, new Uint8Array(await blob.arrayBuffer())]),
    ),
  );
  assert.ok(Object.keys(copy).length > 3);
  assert.is(await identityOf({ ...copy, 'config.json': files['config.json']! }), want);
  const config = JSON.parse(new TextDecoder().decode(files['config.json']));
  const other = new TextEncoder().encode(JSON.stringify({ ...config, rms_norm_eps: 0.0123 }));
  assert.is.not(await identityOf({ ...files, 'config.json': other }), want);
});

/** The checkpoint over a source that counts what is read of it. */
function counted(checkpoint: Checkpoint, stamp?: () => FileStamp): { checkpoint: Checkpoint; bytes: () => number } {
  let bytes = 0;
  const sources = new Map();
  const tensors = [...checkpoint.tensors].map(([name, entry]) => {
    const source = sources.get(entry.source) ?? {
      ...entry.source,
      ...(stamp ? { stamp: async () => stamp() } : {}),
      readInto: (offset: number, target: Uint8Array) => {
        bytes += target.byteLength;
        return entry.source.readInto(offset, target);
      },
    };
    sources.set(entry.source, source);
    return [name, { ...entry, source }] as const;
  });
  return { checkpoint: { ...checkpoint, tensors: new Map(tensors) }, bytes: () => bytes };
}

test('nothing is read twice, and reading in any way gives the same', async () => {
  const files = await gguf('gguf-llama-q4_k');
  let read = () => 0;
  let total = 0;
  const want = await identityOf(files, (checkpoint) => {
    const watched = counted(checkpoint);
    read = watched.bytes;
    for (const { byteLength } of checkpoint.tensors.values()) total += byteLength;
    return watched.checkpoint;
  });
  assert.is(read(), total);
  const checkpoint = await openCheckpoint(files);
  for (const seed of [1, 2, 3]) {
    const watched = counted(checkpoint);
    const digests = new TensorDigests(watched.checkpoint);
    const next = numbers(seed);
    for (const { source, offset, byteLength } of [...digests.checkpoint.tensors.values()].reverse()) {
      // pieces with holes and overlaps
      for (let i = 0; i < 5; i++) {
        const at = i === 0 ? 0 : next() % byteLength;
        await source.readInto(offset + at, new Uint8Array(1 + (next() % (byteLength - at))));
      }
    }
    assert.is(await digests.identity(), want, `seed ${seed}`);
  }
  await checkpoint.close();
});

test('digests of earlier: only a file that may have changed is read again', async () => {
  const files = await folder('llama-f16');
  let stamp: FileStamp = { key: 'a', content: 'a', size: 1, isSettled: true };
  const checkpoint = await openCheckpoint(files);
  const open = () => {
    const watched = counted(checkpoint, () => stamp);
    return { ...watched, digests: new TensorDigests(watched.checkpoint) };
  };
  const first = open();
  (await loadWeights(device, first.digests.checkpoint)).dispose();
  const taken = await first.digests.take();
  assert.equal(await first.digests.take(), []);
  assert.is(taken.length, checkpoint.tensors.size);

  const same = open();
  assert.is(await same.digests.changed(taken), null);
  assert.is(same.bytes(), 0, 'the file is known');
  stamp = { ...stamp, key: 'b' };
  const touched = open();
  assert.is(await touched.digests.changed(taken), null);
  assert.ok(touched.bytes() > 0);
  const other = await openCheckpoint(flipped(files, 'model.safetensors', files['model.safetensors']!.length - 9, 3));
  const name = await new TensorDigests(other).changed(taken);
  assert.ok(name !== null && taken.some((one) => one.name === name));
  await other.close();

  // one that was changed just now may change again without another time
  stamp = { ...stamp, isSettled: false };
  const racy = open();
  (await loadWeights(device, racy.digests.checkpoint)).dispose();
  assert.ok((await racy.digests.take()).every((one) => one.stamp === null));
  // and one that changes while it is read is no source
  const changing = open();
  (await loadWeights(device, changing.digests.checkpoint)).dispose();
  stamp = { ...stamp, content: 'c' };
  await rejects('E_FILE_READ', () => changing.digests.take());
  await checkpoint.close();
});

test('the identity without loading is that of the loaded model, whatever else is stored', async () => {
  for (const name of ['llama-gqa', 'gemma3', 'moe-qwen2', 'moe-granite-unshared', 'gguf-llama-q4_0', 'qwen3']) {
    const checkpoint = await openCheckpoint(await (name.startsWith('gguf') ? gguf : folder)(name));
    const embedding = checkpoint.tensors.get('model.embed_tokens.weight')!;
    // of a tied model the head once more, and what no model is computed from
    const beside = [
      'vision.weight',
      'model.layers.0.rotary.weight',
      ...(checkpoint.config.tiedEmbeddings ? ['lm_head.weight'] : []),
    ];
    const tensors = new Map([
      ...checkpoint.tensors,
      ...beside.map((own) => [own, { ...embedding, name: own }] as const),
    ]);
    for (const one of [checkpoint, { ...checkpoint, tensors }]) {
      const loaded = new TensorDigests(one);
      (await loadWeights(device, loaded.checkpoint)).dispose();
      assert.is(await new TensorDigests(one).loadedIdentity(), await loaded.identity(), name);
    }
    await checkpoint.close();
  }
});

test('done', () => device.close());
test.run();
