/** Cached examples against computing the same examples anew: first answer token, adaptive counts, re-encoding, reopening a pool. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Contender, compare, goal, header, machine, ratios, type Timing } from './harness.ts';
import { open, type Work } from './show-work.ts';
import { type Context, numbers, type Suite } from './suite.ts';

/** Times faster than prefilling, by shots. */
const FIRST_TOKEN: Readonly<Record<number, number>> = { 64: 15, 128: 25 };
const ADAPTIVE = 10;
const FIXED = 64;
/** Of a memory copy's rate. */
const COPY = 0.4;
const REOPEN = 10;

const by = (timings: readonly Timing[], name: string): number => timings.find((t) => t.name === name)!.ratio;

async function firstToken(work: Work, shots: number, rounds: number, print: Context['print']) {
  const one = (name: string, run: () => Promise<number>): Contender => {
    const discard = async () => void (await run()); // a number would be taken for seconds
    return { name, unit: 'answer', unitsPerRun: 1, run: discard };
  };
  const timings = await compare(
    [one('cached', () => work.cached(shots)), one('prefilled', () => work.prefilled(shots))],
    { rounds, warmup: 1 },
  );
  print(`first answer token behind ${shots} shots, ${work.tokens(shots)} tokens\n${ratios(timings)}\n`);
  return timings;
}

async function adaptive(work: Work, queries: number, rounds: number, print: Context['print']) {
  const chosen = await work.chosen(queries);
  const tokens = chosen.reduce((sum, n, i) => sum + work.rankedTokens(i, n), 0) / queries;
  const fixed = chosen.map((_, i) => work.rankedTokens(i, FIXED)).reduce((sum, n) => sum + n, 0) / queries;
  const all = (name: string, run: (query: number) => Promise<unknown>): Contender => ({
    name,
    unit: 'answer',
    unitsPerRun: queries,
    run: async () => {
      for (let i = 0; i < queries; i++) await run(i);
    },
  });
  const timings = await compare(
    [
      all('label, adaptive', (i) => work.adaptive(i)),
      all('the same, ridge null', (i) => work.withoutRidge(i)),
      all('its counts, prefilled', (i) => work.prefilledRanked(i, chosen[i]!)),
      all(`fixed ${FIXED}, cached`, (i) => work.cachedRanked(i, FIXED)),
      all(`fixed ${FIXED}, prefilled`, (i) => work.prefilledRanked(i, FIXED)),
    ],
    { rounds, warmup: 1 },
  );
  const mean = chosen.reduce((sum, n) => sum + n, 0) / queries;
  print(
    `${queries} queries; ${mean.toFixed(1)} shots and ${tokens.toFixed(0)} tokens on average, against ${fixed.toFixed(0)}`,
  );
  print(`${ratios(timings)}\n`);
  const beside = (name: string): number => by(timings, name) / by(timings, 'the same, ridge null');
  const total = beside(`fixed ${FIXED}, prefilled`);
  const reuse = beside('its counts, prefilled');
  print(
    `without ridge regression ${total.toFixed(2)}x, of that fewer shots ${(total / reuse).toFixed(2)}x, reuse ${reuse.toFixed(2)}x; by reuse alone `.concat(
      `${(total / beside(`fixed ${FIXED}, cached`)).toFixed(2)}x at ${FIXED} shots\n`,
    ),
  );
  return { chosen, timings };
}

async function moving(work: Work, rounds: number, print: Context['print']) {
  const { bytes, place, copy } = work.moving(128);
  const gigabytes = (name: string, run: Contender['run']): Contender => {
    return { name, unit: 'GB', unitsPerRun: bytes / 1e9, run };
  };
  const timings = await compare([gigabytes('re-encoding', place), gigabytes('memory copy', copy)], {
    rounds: 4 * rounds,
    warmup: 2,
  });
  print(`keys and values of 128 shots, ${(bytes / 1e6).toFixed(0)} MB written\n${ratios(timings)}\n`);
  return timings;
}

async function reopening(work: Work, rounds: number, print: Context['print']) {
  const folder = await mkdtemp(join(tmpdir(), 'espalier-bench-'));
  try {
    const kept = join(folder, 'kept');
    const first = await work.build(kept, 128);
    let fresh = 0;
    const pool = (name: string, run: Contender['run']): Contender => ({ name, unit: 'pool', unitsPerRun: 1, run });
    const timings = await compare(
      [
        pool('reopened', async () => (await work.build(kept, 128)).seconds),
        pool('built', async () => (await work.build(join(folder, `fresh${fresh++}`), 128)).seconds),
      ],
      { rounds, warmup: 1 },
    );
    const again = await work.build(kept, 128);
    if (JSON.stringify(first.answers) !== JSON.stringify(again.answers))
      throw new Error('a reopened pool answers otherwise');
    print(`a pool of 128 shots, ${(again.bytes / 1e6).toFixed(0)} MB in the store\n${ratios(timings)}\n`);
    return timings;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const suite: Suite = {
  about:
    'cached examples on SmolLM2 and TREC, against prefilling  (--model FILE --data FOLDER --lanes 1,2 --rounds 5 --queries 8)',
  async run(context) {
    const { print, flags } = context;
    const [rounds = 5] = numbers(context, 'rounds', [5]);
    const [queries = 8] = numbers(context, 'queries', [8]);
    const path = (name: string) => (typeof flags[name] === 'string' ? flags[name] : undefined);
    print(header(machine()));
    const results = [];
    for (const lanes of numbers(context, 'lanes', [1, 2])) {
      const work = await open({ lanes, queries, model: path('model'), data: path('data') });
      try {
        print(`\n${lanes} lane${lanes > 1 ? 's' : ''}\n`);
        const first: Record<number, Timing[]> = {};
        for (const shots of Object.keys(FIRST_TOKEN).map(Number)) {
          first[shots] = await firstToken(work, shots, rounds, print);
        }
        const label = await adaptive(work, queries, Math.max(2, Math.ceil(rounds / 2)), print);
        const moved = await moving(work, rounds, print);
        const pools = await reopening(work, Math.max(2, Math.ceil(rounds / 2)), print);
        const goals = [
          ...Object.entries(FIRST_TOKEN).map(([shots, wanted]) => {
            return goal(
              `first answer token, ${shots} shots: prefilled / cached`,
              first[Number(shots)]![1]!.ratio,
              wanted,
            );
          }),
          goal(`fixed ${FIXED} prefilled / adaptive`, by(label.timings, `fixed ${FIXED}, prefilled`), ADAPTIVE),
          goal("re-encoding's rate / a memory copy's", 1 / by(moved, 'memory copy'), COPY),
          goal('building / reopening 128 shots', by(pools, 'built'), REOPEN),
        ];
        for (const line of goals) print(line);
        results.push({ lanes, first, ...label, moved, pools, goals });
      } finally {
        work.close();
      }
    }
    return { machine: machine(), results };
  },
};

export default suite;
