/** Tokens of several sequences in one pass: each as `forward` computes it alone, to the bit. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Tensor } from '../../src/device/device.ts';
import { CHUNK, type Decoder, type SequencePart } from '../../src/model/decoder.ts';
import type { KvCache } from '../../src/model/kv-cache.ts';
import { devices, testNothingLeft } from '../device/devices.ts';
import { rejects } from '../errors.ts';
import { moeNames, tinyDecoder, tinyNames, tinyReference } from './tiny.ts';

const all = await devices();

/** Lengths of texts that stand in caches already, and of what comes next where it is more than a token. */
const HELD = [5, 1, 17, 30, 9];
const MORE = [3, 12, 2, 7, 2];

/** Families with windows, layers without RoPE, experts, and weights of several types, for every device; one has all. */
const SOME = [
  'gemma3',
  'smollm3-window',
  'llama-gqa',
  'gguf-llama-q4_1',
  'gguf-llama-q8_0',
  'moe-mixtral',
  'moe-qwen2',
];
const every = (all.find(({ name }) => name.startsWith('relaxed')) ?? all[0]!).name;

interface Sequence {
  readonly cache: KvCache;
  readonly ids: readonly number[];
}

for (const { name, device } of all) {
  const floats = async (t: Tensor) => [...((await device.read(t)) as Float32Array)];

  async function begun(decoder: Decoder, ids: readonly number[]): Promise<Sequence[]> {
    const list: Sequence[] = [];
    for (const [i, held] of HELD.entries()) {
      // a text of its own each
      const own = Array.from({ length: 64 }, (_, j) => ids[(7 * i + j) % ids.length]!);
      const cache = decoder.cache();
      await decoder.forward(own.slice(0, held), cache, { output: 'last' });
      list.push({ cache, ids: own });
    }
    return list;
  }

  async function aloneAll(decoder: Decoder, { cache, ids }: Sequence, count: number, output: 'all' | 'last') {
    const { length } = cache;
    let hidden: number[] = [];
    const onChunk = async (t: Tensor) => void (hidden = await floats(t));
    await decoder.forward(ids.slice(length, length + count), cache, { output, onChunk });
    const rows: number[] = [];
    for (let layer = 0; layer < decoder.config.nLayers; layer++) {
      rows.push(...(await floats(device.rows(cache.keys(layer), length, count))));
      rows.push(...(await floats(device.rows(cache.values(layer), length, count))));
    }
    cache.truncate(length);
    return { hidden, rows };
  }

  const checkRows = async (decoder: Decoder, { cache }: Sequence, count: number, want: readonly number[]) => {
    const rows: number[] = [];
    const first = cache.length - count;
    for (let layer = 0; layer < decoder.config.nLayers; layer++) {
      rows.push(...(await floats(device.rows(cache.keys(layer), first, count))));
      rows.push(...(await floats(device.rows(cache.values(layer), first, count))));
    }
    assert.equal(rows, want, 'keys and values');
  };

  const chosen = name === every ? [...tinyNames, ...moeNames] : SOME;
  for (const tiny of chosen) {
    for (const precision of ['exact', 'int8'] as const) {
      test(`one token of each sequence is what it is alone: ${tiny}, ${precision} [${name}]`, async () => {
        const decoder = await tinyDecoder(tiny, device, precision);
        const sequences = await begun(decoder, (await tinyReference(tiny)).ids);
        // sequences leave and join between tokens
        for (const members of [[0, 1, 2, 3, 4], [0, 2, 4], [4, 1], [3], [2, 3, 1, 0]]) {
          const present = members.map((m) => sequences[m]!);
          const want = [];
          for (const sequence of present) want.push(await aloneAll(decoder, sequence, 1, 'last'));
          const parts = present.map(({ cache, ids }): SequencePart => ({ cache, ids: [ids[cache.length]!] }));
          let hidden: number[] = [];
          await decoder.forwardEach(parts, { output: 'last', onOutput: async (t) => void (hidden = await floats(t)) });
          assert.equal(
            hidden,
            want.flatMap((one) => one.hidden),
          );
          for (const [i, sequence] of present.entries()) await checkRows(decoder, sequence, 1, want[i]!.rows);
        }
        for (const { cache } of sequences) cache.dispose();
        decoder.dispose();
      });
    }

    // the rows of an expert, and of a group with channels apart, are company for each other
    if (tiny.startsWith('moe-')) continue;
    const ways = (['exact', 'int16', 'int8'] as const).filter((way) => way === 'exact' || tiny.startsWith('gguf-'));
    for (const [output, precision] of ways.flatMap((way) => [['last', way] as const, ['all', way] as const])) {
      test(`more tokens of each are what they are alone: ${tiny}, ${precision}, ${output} [${name}]`, async () => {
        const decoder = await tinyDecoder(tiny, device, precision);
        if (device.kind === 'wasm') {
          assert.is(decoder.rowsIndependent, precision !== 'int8' || !tiny.includes('-q4_'), 'what is promised');
        }
        if (precision !== 'exact' && !decoder.rowsIndependent) return decoder.dispose();
        const sequences = await begun(decoder, (await tinyReference(tiny)).ids);
        for (const unwanted of [new Set<number>(), new Set([1, 4]), new Set([0, 1, 2, 3, 4])]) {
          const want = [];
          for (const [i, sequence] of sequences.entries()) {
            want.push(await aloneAll(decoder, sequence, MORE[i]!, output));
          }
          const parts = sequences.map(({ cache, ids }, i): SequencePart => {
            return { cache, ids: ids.slice(cache.length, cache.length + MORE[i]!), wanted: !unwanted.has(i) };
          });
          let hidden: number[] = [];
          await decoder.forwardEach(parts, { output, onOutput: async (t) => void (hidden = await floats(t)) });
          const given = want.filter((_, i) => output === 'all' || !unwanted.has(i));
          assert.equal(
            hidden,
            given.flatMap((one) => one.hidden),
          );
          for (const [i, sequence] of sequences.entries()) {
            await checkRows(decoder, sequence, MORE[i]!, want[i]!.rows);
            sequence.cache.truncate(HELD[i]!);
          }
        }
        for (const { cache } of sequences) cache.dispose();
        decoder.dispose();
      });
    }
  }

  test(`what cannot go together is refused, and caches stay as they were [${name}]`, async () => {
    const decoder = await tinyDecoder(tinyNames[0]!, device, 'exact');
    const { vocabSize, maxPositions } = decoder.config;
    const sequences = await begun(decoder, (await tinyReference(tinyNames[0]!)).ids);
    const [a, b] = sequences.map(({ cache }) => cache) as [KvCache, KvCache];
    const refused = (code: string, parts: readonly SequencePart[], signal?: AbortSignal) =>
      rejects(code, () => decoder.forwardEach(parts, { signal }));
    await refused('E_ARGUMENT', [
      { cache: a, ids: [1] },
      { cache: a, ids: [1] },
    ]);
    await refused('E_ARGUMENT', [
      { cache: a, ids: [1] },
      { cache: b, ids: [] },
    ]);
    await refused('E_ARGUMENT', [
      { cache: a, ids: [1] },
      { cache: b, ids: [vocabSize] },
    ]);
    await refused('E_ARGUMENT', [
      { cache: a, ids: [1] },
      { cache: b, ids: new Array(CHUNK).fill(1) },
    ]);
    if (maxPositions < CHUNK) {
      await refused('E_CONTEXT_LENGTH', [
        { cache: a, ids: [1] },
        { cache: b, ids: new Array(maxPositions).fill(1) },
      ]);
    }
    await refused(
      'E_ABORTED',
      [
        { cache: a, ids: [1] },
        { cache: b, ids: [1] },
      ],
      AbortSignal.abort(),
    );
    await rejects('E_DISPOSED', () =>
      decoder.forwardEach(
        [
          { cache: a, ids: [1] },
          { cache: b, ids: [1] },
        ],
        {
          onOutput: (t) => {
            t.dispose();
            throw Object.assign(new Error('gone'), { code: 'E_DISPOSED' });
          },
        },
      ),
    );
    for (const [i, { cache }] of sequences.entries()) {
      assert.is(cache.length, HELD[i]);
      cache.dispose();
    }
    decoder.dispose();
  });
}

testNothingLeft(all);

test.run();
