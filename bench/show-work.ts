/** What `show` times: the library's own calls, and the same shots computed anew. */
import { access } from 'node:fs/promises';
import { readTask } from '../src/datasets/files.ts';
import { splitExamples } from '../src/datasets/splits.ts';
import { renderQuery, TEMPLATES } from '../src/datasets/templates.ts';
import { STAT_NUMBERS, STAT_PLACE, STAT_PLACES } from '../src/device/device.ts';
import { WasmDevice } from '../src/device/wasm/wasm-device.ts';
import { shotsOf } from '../src/evaluate/setting.ts';
import { openLocal } from '../src/open-local.ts';
import { Show } from '../src/show/answer/answerer.ts';
import { ShotContext } from '../src/show/place/context.ts';
import { ShotPool } from '../src/show/pool/pool.ts';
import { openShotStore } from '../src/show/pool/store.ts';
import { Bm25 } from '../src/show/rank/bm25.ts';
import { SHARED, SMOLLM2 } from './smollm2.ts';

const DATA = `${SHARED}/data/trec_qc`;
const POOL = 1024;

export interface WorkOptions {
  readonly lanes: number;
  readonly queries: number;
  readonly model: string | undefined;
  readonly data: string | undefined;
}

export interface Built {
  readonly seconds: number;
  /** To the first queries. */
  readonly answers: unknown;
  /** In the store. */
  readonly bytes: number;
}

export interface Work {
  /** Of the pool's first shots. */
  tokens(shots: number): number;
  /** Likeliest token behind a query behind the pool's first shots: placed from the pool, or computed. */
  cached(shots: number): Promise<number>;
  prefilled(shots: number): Promise<number>;
  /** Of a query's best shots. */
  rankedTokens(query: number, shots: number): number;
  cachedRanked(query: number, shots: number): Promise<number>;
  prefilledRanked(query: number, shots: number): Promise<number>;
  adaptive(query: number): Promise<unknown>;
  /** The same by shots alone. */
  withoutRidge(query: number): Promise<unknown>;
  /** Counts that `withoutRidge` chooses; all shots that it needs are in the pool afterwards. */
  chosen(queries: number): Promise<readonly number[]>;
  /** Seconds for moving so many shots' keys and values, and for copying as many bytes as that writes. */
  moving(shots: number): { readonly bytes: number; place(): Promise<number>; copy(): number };
  /** A pool of the first so many shots over a store in a folder: seconds, and answers to the queries. */
  build(folder: string, shots: number): Promise<Built>;
  close(): void;
}

export async function open(options: WorkOptions): Promise<Work> {
  const model = options.model ?? SMOLLM2;
  const data = options.data ?? DATA;
  for (const path of [model, data]) {
    await access(path).catch(() => {
      throw new Error(`${path} is not there: give --model FILE and --data FOLDER with the TREC questions`);
    });
  }
  const device = await WasmDevice.create({ lanes: options.lanes });
  const lm = await openLocal(model, { device, precision: 'int8' });
  const { decoder } = lm;
  const task = await readTask('trec', { path: data });
  const split = splitExamples(task, { pool: POOL, test: options.queries, seed: 1 });
  const template = TEMPLATES.trec;
  const shots = shotsOf(template, split.pool);
  const first = shots.map(({ id }) => id);
  const words = new Bm25();
  for (const { id, input } of shots) words.add(id, input!);
  const ranked = split.test.map(({ input }) => words.rank(input).map(({ id }) => id));
  const texts = split.test.map(({ input }) => renderQuery(template, input));
  const queries = texts.map((text) => lm.encode(text, { addBos: false }));
  const grow = { initial: 0, most: POOL };
  const pool = await ShotPool.build(lm, shots, { grow });
  const context = await ShotContext.create(pool);
  const label = { preset: 'label', labels: task.labels, prompt: template.output } as const;
  const [regressed, shown] = [await Show.create(pool, label), await Show.create(pool, { ...label, ridge: null })];
  const numbers = device.tensor('f32', [1, STAT_NUMBERS]);
  const places = device.tensor('i32', [1, STAT_PLACES]);
  const plain = decoder.cache(0, Number.MAX_SAFE_INTEGER);
  const idsOf = (ids: readonly string[]) => [...pool.prefixIds, ...ids.flatMap((id) => pool.tokens(id))];

  const likeliest = async (hidden: Parameters<typeof decoder.logits>[0]): Promise<number> => {
    device.logitStats(decoder.logits(hidden), null, 1, numbers, places);
    return (await device.read(places))[STAT_PLACE.argmax]!;
  };
  const cached = async (ids: readonly string[], query: readonly number[]) => {
    context.clear();
    await context.place(ids);
    return context.branches([{ ids: query, shots: ids.length }], (hidden, [branch]) =>
      likeliest(device.rows(hidden, branch!.first + branch!.count - 1, 1)),
    );
  };
  const prefilled = async (ids: readonly string[], query: readonly number[]) => {
    plain.truncate(0);
    let token = -1;
    await decoder.forward([...idsOf(ids), ...query], plain, {
      output: 'last',
      onChunk: async (hidden) => {
        token = await likeliest(hidden);
      },
    });
    return token;
  };
  const ask = (shotPool: Show, i: number) => shotPool.ask(texts[i]!, { input: split.test[i]!.input });
  await pool.prepare(first.slice(0, 128));
  for (const ids of ranked) await pool.prepare(ids.slice(0, 64));

  return {
    tokens: (count) => idsOf(first.slice(0, count)).length,
    cached: (count) => cached(first.slice(0, count), queries[0]!),
    prefilled: (count) => prefilled(first.slice(0, count), queries[0]!),
    rankedTokens: (i, count) => idsOf(ranked[i]!.slice(0, count)).length + queries[i]!.length,
    cachedRanked: (i, count) => cached(ranked[i]!.slice(0, count), queries[i]!),
    prefilledRanked: (i, count) => prefilled(ranked[i]!.slice(0, count), queries[i]!),
    adaptive: (i) => ask(regressed, i),
    withoutRidge: (i) => ask(shown, i),
    chosen: async (count) => {
      const list: number[] = [];
      for (let i = 0; i < count; i++) list.push((await ask(shown, i)).receipt.chosen);
      return list;
    },
    moving: (count) => {
      const ids = first.slice(0, count);
      const { nLayers, nKvHeads, headDim } = lm.config;
      const bytes = ids.flatMap((id) => pool.tokens(id)).length * nLayers * nKvHeads * headDim * 2 * 4;
      const [from, to] = [new Uint8Array(new SharedArrayBuffer(bytes)), new Uint8Array(new SharedArrayBuffer(bytes))];
      from.fill(1);
      return {
        bytes,
        place: async () => {
          context.clear();
          const start = performance.now();
          await context.place(ids);
          return (performance.now() - start) / 1000;
        },
        copy: () => {
          const start = performance.now();
          to.set(from);
          return (performance.now() - start) / 1000;
        },
      };
    },
    build: async (folder, count) => {
      const store = await openShotStore(folder);
      const start = performance.now();
      const made = await ShotPool.build(lm, shots.slice(0, count), { store, grow: { initial: count, most: count } });
      const seconds = (performance.now() - start) / 1000;
      const asked = await Show.create(made, label);
      try {
        const answers = [];
        for (let i = 0; i < Math.min(4, texts.length); i++) answers.push((await ask(asked, i)).probabilities);
        return { seconds, answers, bytes: await store.bytes() };
      } finally {
        asked.close();
        made.close();
      }
    },
    close: () => {
      for (const show of [regressed, shown]) show.close();
      context.close();
      pool.close();
      plain.dispose();
      numbers.dispose();
      places.dispose();
      lm.close();
      device.close();
    },
  };
}
