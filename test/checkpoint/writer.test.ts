/** Checkpoints that are written: what is in the files. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readSafetensorsFolder } from '../../src/checkpoint/safetensors/folder.ts';
import { indexOf, tensorBytes } from '../../src/checkpoint/write/shards.ts';
import {
  type OutputGroup,
  planShards,
  type TensorSpec,
  writeCheckpoint,
} from '../../src/checkpoint/write/write-checkpoint.ts';
import type { ByteSource } from '../../src/runtime/files/source.ts';
import { memoryOutput } from '../../src/runtime/output/memory.ts';
import type { OutputFolder } from '../../src/runtime/output/output.ts';
import { content, job, pieces, specs } from './jobs.ts';

const SEED = 5;
const GROUPS = 10;

/** Every tensor of a folder, by our reader. */
async function tensorsOf(out: OutputFolder): Promise<Map<string, { spec: TensorSpec; bytes: Uint8Array }>> {
  const opened: ByteSource[] = [];
  const { tensors, unsupported } = await readSafetensorsFolder(await out.files(), opened);
  assert.is(unsupported.size, 0);
  const found = new Map<string, { spec: TensorSpec; bytes: Uint8Array }>();
  for (const [name, { type, shape, source, offset, byteLength }] of tensors) {
    const bytes = new Uint8Array(byteLength);
    await source.readInto(offset, bytes);
    found.set(name, { spec: { name, type, shape } as TensorSpec, bytes });
  }
  for (const source of opened) await source.close();
  return found;
}

async function textOf(out: OutputFolder, name: string): Promise<string> {
  return new TextDecoder().decode((await out.readBytes(name))!);
}

/** Tensors of these bytes, one a group. */
function plain(...sizes: number[]): OutputGroup[] {
  return sizes.map((size, i) => ({
    name: `${i}`,
    tensors: [{ name: `t${i}`, type: 'bf16', shape: [size / 2], bytes: () => pieces(content(i, size), i) }],
  }));
}

test('what is written is read back, in one file and in shards', async () => {
  for (const maxShardBytes of [undefined, 20_000, 1]) {
    const out = memoryOutput('out');
    const { groups } = job(SEED, GROUPS);
    const written = await writeCheckpoint(out, groups, { identity: '', maxShardBytes });
    const found = await tensorsOf(out);
    const all = groups.flatMap((group) => group.tensors);
    assert.is(found.size, all.length);
    for (const [g, group] of groups.entries()) {
      assert.equal(
        group.tensors.map((tensor) => found.get(tensor.name)!.spec),
        specs(SEED, g),
      );
      for (const [i, tensor] of group.tensors.entries()) {
        const same = content(SEED * 100_000 + g * 100 + i, tensorBytes(tensor));
        assert.equal(found.get(tensor.name)!.bytes, same);
      }
    }
    const shards = planShards(groups, maxShardBytes).length;
    assert.is(written.files.length, shards === 1 ? 1 : shards + 1);
    assert.is(shards > 1, maxShardBytes !== undefined);
    assert.is(written.resumedGroups, 0);
    for (const { name, bytes } of written.files) assert.is(await out.size(name), bytes);
    await out.commit();
    assert.equal(Object.keys(out.result()).sort(), written.files.map(({ name }) => name).sort());
    if (maxShardBytes === 1) console.log(`  ${all.length} tensors in up to ${written.files.length - 1} shards`);
  }
});

test('the header', async () => {
  const tensors: TensorSpec[] = [
    { name: 'a', type: 'bf16', shape: [3, 1] },
    { name: '10', type: 'f32', shape: [] },
    { name: '2', type: 'f16', shape: [0, 7] },
  ];
  const [shard, ...others] = planShards([{ tensors }]);
  assert.is(others.length, 0);
  const length = new DataView(shard!.header.buffer).getBigUint64(0, true);
  assert.is(Number(length) % 8, 0);
  assert.is(shard!.header.byteLength, 8 + Number(length));
  assert.is(shard!.bytes, shard!.header.byteLength + 6 + 4);
  assert.is(
    new TextDecoder().decode(shard!.header.subarray(8)).trimEnd(),
    '{"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[3,1],"data_offsets":[0,6]},' +
      '"10":{"dtype":"F32","shape":[],"data_offsets":[6,10]},"2":{"dtype":"F16","shape":[0,7],"data_offsets":[10,10]}}',
  );
  assert.throws(() => planShards([{ tensors: [tensors[0]!, tensors[0]!] }]), /two tensors are called a/);
  assert.throws(() => planShards([{ tensors: [{ ...tensors[0]!, shape: [-1] }] }]), /is no shape/);
});

test('a checkpoint without tensors is a file all the same', async () => {
  for (const groups of [[], [{ name: 'none', tensors: [] }]]) {
    const out = memoryOutput('out');
    for (let run = 0; run < 2; run++) {
      await writeCheckpoint(out, groups, { identity: '' });
      assert.is((await tensorsOf(out)).size, 0);
    }
  }
});

test('shards end before they are too large, and a tensor is never divided', async () => {
  const files = (...sizes: number[]) =>
    planShards(plain(...sizes), 100).map(({ name, tensors }) => `${name}: ${tensors.map((t) => t.name)}`);
  assert.equal(files(40, 60), ['model.safetensors: t0,t1']);
  assert.equal(files(300), ['model.safetensors: t0']);
  // an empty tensor does not begin a file, unless behind one that is too large by itself
  assert.equal(files(40, 60, 2, 300, 0, 98, 4), [
    'model-00001-of-00005.safetensors: t0,t1',
    'model-00002-of-00005.safetensors: t2',
    'model-00003-of-00005.safetensors: t3',
    'model-00004-of-00005.safetensors: t4,t5',
    'model-00005-of-00005.safetensors: t6',
  ]);
  for (const size of [0, -1, Number.NaN]) {
    assert.throws(
      () => planShards([], size),
      (error: { code?: string }) => error.code === 'E_ARGUMENT',
    );
  }
});

test('the index is what Python writes', async () => {
  const out = memoryOutput('out');
  const written = await writeCheckpoint(out, plain(40, 60, 20), { identity: '', maxShardBytes: 100 });
  assert.equal(
    written.files.map(({ name }) => name),
    ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors', 'model.safetensors.index.json'],
  );
  // json.dumps(index, indent=2, sort_keys=True) + "\n"
  assert.is(
    await textOf(out, 'model.safetensors.index.json'),
    `{
  "metadata": {
    "total_parameters": 60,
    "total_size": 120
  },
  "weight_map": {
    "t0": "model-00001-of-00002.safetensors",
    "t1": "model-00001-of-00002.safetensors",
    "t2": "model-00002-of-00002.safetensors"
  }
}
`,
  );
  const names = ['b.10', 'b.2', 'B', 'a'].map((name): TensorSpec => ({ name, type: 'f32', shape: [1] }));
  const index = new TextDecoder().decode(indexOf(planShards([{ tensors: names }], 4)));
  assert.equal(Object.keys(JSON.parse(index).weight_map), ['B', 'a', 'b.10', 'b.2']);
});

test('arrays larger than the buffers arrive in order', async () => {
  const out = memoryOutput('out');
  const bytes = content(1, (20 << 20) + 6);
  const group = (name: string): OutputGroup => ({
    name,
    tensors: [
      {
        name,
        type: 'bf16',
        shape: [bytes.byteLength / 2],
        bytes: async function* () {
          yield bytes.subarray(0, 10);
          yield bytes.subarray(10, 19 << 20);
          yield bytes.subarray(19 << 20);
        },
      },
    ],
  });
  const seen: number[] = [];
  const { files } = await writeCheckpoint(out, [group('a'), group('b')], {
    identity: '',
    onProgress: (written, total) => {
      assert.is(total, LARGE_FILE);
      seen.push(written);
    },
  });
  assert.is(files[0]!.bytes, LARGE_FILE);
  const found = await tensorsOf(out);
  for (const name of ['a', 'b']) assert.ok(equal(found.get(name)!.bytes, bytes));
  assert.is(seen[0], 0);
  assert.is(seen.at(-1), LARGE_FILE);
  assert.ok(seen.every((value, i) => i === 0 || value > seen[i - 1]!));
});
const LARGE_FILE = planShards([
  { tensors: ['a', 'b'].map((name) => ({ name, type: 'bf16' as const, shape: [(10 << 20) + 3] })) },
])[0]!.bytes;

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && a.every((value, i) => value === b[i]);
}

test('a tensor with too few or too many bytes is a defect of the program', async () => {
  for (const length of [0, 8, 12]) {
    const out = memoryOutput('out');
    const tensor = { name: 'a', type: 'bf16', shape: [5], bytes: () => pieces(new Uint8Array(length), 1) } as const;
    await writeCheckpoint(out, [{ name: 'g', tensors: [tensor] }], { identity: '' }).then(
      () => assert.unreachable(),
      (error) => assert.match(error.message, `a has 10 bytes by its shape, and ${length} came`),
    );
  }
});

test.run();
