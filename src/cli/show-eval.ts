import type { Model } from '../engine/model/model.ts';
import { evaluate, identityOf } from '../engine/show/evaluate.ts';
import type { EvaluateOptions } from '../engine/show/options.ts';
import { EspalierError } from '../errors.ts';
import { checkArm } from '../evaluate/answerers.ts';
import { DEFAULT_ARMS, parseArms } from '../evaluate/arms.ts';
import type { Evaluation } from '../evaluate/page/evaluation.ts';
import { evaluationMarkdown } from '../evaluate/page/markdown.ts';
import { evaluationPage } from '../evaluate/page/page.ts';
import { reportArms } from '../evaluate/report.ts';
import type { EvaluationRecord } from '../evaluate/types.ts';
import { defined } from '../options/defined.ts';
import { sha256 } from '../runtime/files/hash.ts';
import { defineCommand, type Values } from './shared/command.ts';
import { formatDuration, Progress } from './shared/format.ts';
import { LogFile } from './shared/log-file.ts';
import {
  answerArguments,
  dataOf,
  evalArguments,
  openForShots,
  rankOf,
  showArguments,
  storeOf,
} from './shared/show-options.ts';
import { RecordFile } from './shared/show-records.ts';
import { describeReports } from './shared/show-table.ts';

const ARGUMENTS = { ...showArguments, ...evalArguments, ...answerArguments } as const;

export const showEvalCommand = defineCommand({
  meta: { name: 'eval', description: 'Measure ways of showing examples against each other, on data with labels' },
  args: ARGUMENTS,
  run: async ({ args, io, signal }) => {
    const wanted = evaluationOf(args);
    const { shard, join: joined = [] } = args;
    if (joined.length > 0 && args.out === undefined) {
      throw new EspalierError('E_ARGUMENT', 'What --join names goes into --out, which is missing.', 'Give --out.');
    }
    const { format, task, template } = await dataOf(args, {
      ...defined({ test: args['test-path'], dev: args['dev-path'] }),
    });
    // what is wrong with options is said before a model is loaded, and before the file is touched
    reportArms(wanted.arms, [], defined({ against: args.against }));
    for (const arm of wanted.arms) checkArm(arm, { options: { ...wanted, template }, labels: task.labels });
    const reportFiles = await openReports(args);
    let model: Model | undefined;
    const bar = new Progress({ label: 'evaluating', total: 1, silent: args.json });
    let file: RecordFile | undefined;
    let warned = false;
    const started = performance.now();
    const date = `${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC`;
    try {
      model = await openForShots(args, io, signal);
      const { arms: _, seeds: __, ...settings } = wanted;
      const identity = {
        format: 5,
        // whatever it is called and wherever it lies
        ...(await identityOf(model)),
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
        store: storeOf(args),
        done: file?.done ?? [],
        ...defined({ shard }),
        onWarning: (warning) => {
          bar.end();
          if (!warned) io.err(`${warning}\n`);
          warned = true;
        },
        onRecord: (record: EvaluationRecord) => file?.add(record),
        onProgress: ({ arm, done, total, preparing: p }) => {
          const note = p && `, ${p.what} ${Math.floor((100 * p.done) / (p.total || 1))} %`;
          bar.update(done / total, `${arm}${note ?? ''}`);
        },
        signal,
      });
      bar.end();
      const reports = reportArms(
        wanted.arms,
        chosen(records, wanted),
        defined({ against: args.against, seed: wanted.seed }),
      );
      const seconds = (performance.now() - started) / 1000;
      const { name, description, lanes } = model;
      const evaluation: Evaluation = {
        model: name,
        data: format,
        options: wanted,
        records,
        task,
        date,
        device: { ...description, lanes: `${lanes}`, precision: args.exact ? 'exact' : 'int8' },
        ...defined({ against: args.against }),
      };
      for (const { file, path, form } of reportFiles) {
        await file.write(form(evaluation));
        if (!args.json) io.err(`The report is in ${path}.\n`);
      }
      if (args.json) {
        io.out(`${JSON.stringify({ model: model.name, ...identity, seeds: wanted.seeds, seconds, arms: reports })}\n`);
      } else {
        io.out(`${describeReports(reports)}\n`);
        io.err(`${model.name}, ${format}, in ${formatDuration(seconds)}\n`);
      }
    } finally {
      bar.end();
      await file?.close();
      await model?.close();
      for (const { file } of reportFiles) await file.close();
    }
  },
});

/** The files of reports that are asked for. @throws E_FILE_WRITE, E_STORAGE_FULL, before anything is computed */
async function openReports({ html, markdown }: Values<typeof ARGUMENTS>) {
  const wanted = [
    { path: html, form: evaluationPage },
    { path: markdown, form: evaluationMarkdown },
  ];
  const files: { readonly file: LogFile; readonly path: string; readonly form: (evaluation: Evaluation) => string }[] =
    [];
  for (const { path, form } of wanted) {
    if (path === undefined) continue;
    try {
      files.push({ file: await LogFile.open(path), path, form });
    } catch (error) {
      for (const { file } of files) await file.close();
      throw error;
    }
  }
  return files;
}

/** Records of the arms and seeds of this run: a file may hold more. */
function chosen(records: readonly EvaluationRecord[], { seed = 0, seeds = 1 }: Wanted): EvaluationRecord[] {
  return records.filter((record) => record.seed >= seed && record.seed < seed + seeds);
}

type Wanted = Omit<EvaluateOptions, 'template' | 'store'>;

/** @throws E_ARGUMENT */
function evaluationOf(args: Values<typeof ARGUMENTS>): Wanted {
  const { pool = 1024, items = 250, dev = 0, seed = 0, seeds = 1, balanced } = args;
  const { instruction, scoring, grid, order, ensemble, vote, ridge, storage, repair, clusters, fidelity } = args;
  const { temperature, threshold } = args;
  const rank = rankOf(args.rank, seed);
  return {
    arms: parseArms(args.arms ?? DEFAULT_ARMS, args.counts),
    pool,
    test: items,
    dev,
    seed,
    seeds,
    balanced,
    ...defined({ instruction, scoring, grid, order, ensemble, vote, ridge, rank }),
    ...defined({ storage, repair, clusters, fidelity, temperature, threshold }),
  };
}
