import { defined } from '../adapshot/defined.ts';
import { EspalierError } from '../errors.ts';
import { checkArm } from '../evaluate/answerers.ts';
import { DEFAULT_ARMS, parseArms } from '../evaluate/arms.ts';
import { reportArms } from '../evaluate/report.ts';
import { evaluate } from '../evaluate/run.ts';
import type { EvaluateOptions, Shard } from '../evaluate/setting.ts';
import type { EvaluationRecord } from '../evaluate/types.ts';
import { sha256 } from '../runtime/hash.ts';
import { defineCommand } from './command.ts';
import { numberOf } from './common.ts';
import { formatDuration, Progress } from './format.ts';
import {
  type Args,
  choiceOf,
  countOf,
  dataOf,
  ensembleArgument,
  gridArgument,
  iclArguments,
  listOf,
  openForShots,
  orderArgument,
  orderOf,
  rankArgument,
  rankOf,
  storageOf,
  storeOf,
  temperatureArgument,
  voteArgument,
  voteOf,
} from './icl-options.ts';
import { RecordFile } from './icl-records.ts';
import { describeReports } from './icl-table.ts';

const text = (description: string) => ({ type: 'string', description }) as const;

export const iclEvalCommand = defineCommand({
  meta: { name: 'eval', description: 'Measure ways of showing examples against each other, on data with labels' },
  args: {
    ...iclArguments,
    'test-path': text('File of test data; default: of the folder or file, else taken from the training data'),
    'dev-path': text('File of development data; default: the same'),
    arms: text(`What to measure (${DEFAULT_ARMS}); docs/showing.md names all`),
    counts: text('Numbers of examples that names of arms stand for (4,8,16,32,64,128)'),
    items: text('Test items (250)'),
    dev: text('Development items, to fit the threshold of adaptive arms on (0: not fitted)'),
    seeds: text('Draws of pool and items (1)'),
    scoring: text('sum or greedy: how labels are scored (sum)'),
    grid: gridArgument,
    order: orderArgument,
    temperature: temperatureArgument,
    ensemble: ensembleArgument,
    vote: voteArgument,
    rank: rankArgument,
    threshold: text('Entropy that is sure enough for the arm label'),
    repair: text('Tokens that the arms repair compute again (8)'),
    clusters: text('Chains of the arms chains (16)'),
    fidelity: text('Items of arms that reuse examples to compare with full attention (0)'),
    against: text('The arm that the others are held against'),
    out: text('A file for the results of every item; a run that was interrupted goes on with it'),
    shard: text('K/N: answer only every N-th item, from the K-th on; several runs share the items'),
    join: text('Files of other runs of the same evaluation, with commas between: what they found goes into --out'),
    json: iclArguments.json,
  },
  run: async ({ args, io, signal }) => {
    const wanted = evaluationOf(args);
    const shard = shardOf(args);
    const joined = args.join?.split(',') ?? [];
    if (joined.length > 0 && args.out === undefined) {
      throw new EspalierError('E_ARGUMENT', 'What --join names goes into --out, which is missing.', 'Give --out.');
    }
    const { format, task, template } = await dataOf(args, {
      test: args['test-path'],
      dev: args['dev-path'],
    });
    const store = await storeOf(args);
    // what is wrong with options is said before a model is loaded, and before the file is touched
    reportArms(wanted.arms, [], defined({ against: args.against }));
    for (const arm of wanted.arms) checkArm(arm, { options: { ...wanted, template }, labels: task.labels });
    const { model, close } = await openForShots(args, signal);
    const bar = new Progress({ label: 'evaluating', total: 1, silent: args.json });
    let file: RecordFile | undefined;
    let warned = false;
    const started = performance.now();
    try {
      const { arms: _, seeds: __, ...settings } = wanted;
      const identity = {
        format: 2,
        model: model.name,
        data: format,
        dataHash: await sha256(JSON.stringify(task)),
        template,
        precision: args.exact ? 'exact' : 'int8',
        ...settings,
      };
      if (args.out !== undefined) file = await RecordFile.open(args.out, identity);
      for (const path of joined) await file!.join(path, identity);
      const records = await evaluate(model, task, {
        ...wanted,
        template,
        store,
        done: file?.done ?? [],
        ...defined({ shard }),
        onWarning: (warning) => {
          bar.end();
          if (!warned) io.err(`${warning}\n`);
          warned = true;
        },
        onRecord: (record: EvaluationRecord) => file?.add(record),
        onProgress: ({ arm, done, total }) => bar.update(done / total, arm),
        signal,
      });
      bar.end();
      const reports = reportArms(
        wanted.arms,
        chosen(records, wanted),
        defined({ against: args.against, seed: wanted.seed }),
      );
      const seconds = (performance.now() - started) / 1000;
      if (args.json) {
        io.out(`${JSON.stringify({ ...identity, seeds: wanted.seeds, seconds, arms: reports })}\n`);
      } else {
        io.out(`${describeReports(reports)}\n`);
        io.err(`${model.name}, ${format}, in ${formatDuration(seconds)}\n`);
      }
    } finally {
      bar.end();
      await file?.close();
      close();
    }
  },
});

/** Records of the arms and seeds of this run: a file may hold more. */
function chosen(records: readonly EvaluationRecord[], { seed = 0, seeds = 1 }: Wanted): EvaluationRecord[] {
  return records.filter((record) => record.seed >= seed && record.seed < seed + seeds);
}

/** @throws E_ARGUMENT */
function shardOf(args: Args): Shard | undefined {
  const value = args['shard'] as string | undefined;
  if (value === undefined) return undefined;
  const [, part = 0, of = 0] = (/^(\d+)\/(\d+)$/.exec(value) ?? []).map(Number);
  if (1 <= part && part <= of) return { part, of };
  throw new EspalierError('E_ARGUMENT', `--shard is "${value}".`, 'Give K/N, such as 1/4: K from 1 to N.');
}

type Wanted = Omit<EvaluateOptions, 'template'>;

/** @throws E_ARGUMENT */
function evaluationOf(args: Args): Wanted {
  const counts = listOf(args, 'counts', 1);
  const threshold = numberOf('threshold', args['threshold'] as string | undefined);
  const temperature = numberOf('temperature', args['temperature'] as string | undefined);
  return {
    arms: parseArms((args['arms'] as string | undefined) ?? DEFAULT_ARMS, counts),
    pool: countOf(args, 'pool', 1) ?? 1024,
    test: countOf(args, 'items', 1) ?? 250,
    dev: countOf(args, 'dev') ?? 0,
    seed: countOf(args, 'seed') ?? 0,
    seeds: countOf(args, 'seeds', 1) ?? 1,
    balanced: args['balanced'] === true,
    ...defined({
      instruction: args['instruction'] as string | undefined,
      scoring: choiceOf(args, 'scoring', ['sum', 'greedy']),
      grid: listOf(args, 'grid'),
      order: orderOf(args),
      ensemble: choiceOf(args, 'ensemble', ['one', 'all']),
      vote: voteOf(args),
      rank: rankOf(args),
      storage: storageOf(args),
      repair: countOf(args, 'repair', 1),
      clusters: countOf(args, 'clusters', 1),
      fidelity: countOf(args, 'fidelity'),
      temperature,
      threshold,
    }),
  };
}
