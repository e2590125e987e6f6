import type { Example } from '../datasets/data.ts';
import type { TaskData } from '../datasets/files.ts';
import { distinctInputs, splitExamples } from '../datasets/splits.ts';
import { ShotPool } from '../engine/show/pool.ts';
import { shotsOf } from '../evaluate/setting.ts';
import { defined } from '../options/defined.ts';
import { defineCommand, type Values } from './shared/command.ts';
import { formatBytes, formatDuration, formatTable, Progress } from './shared/format.ts';
import { dataOf, describeWork, openForShots, prefixArgument, showArguments, storeOf } from './shared/show-options.ts';

/** Examples of a pool unless told otherwise. */
const POOL = 1024;

/** The pool that `build` fills and `ask` uses. @throws E_ARGUMENT */
export function poolOf(
  { pool, seed = 0, balanced }: Pick<Values<typeof showArguments>, 'pool' | 'seed' | 'balanced'>,
  task: TaskData,
): readonly Example[] {
  const size = pool ?? Math.min(POOL, distinctInputs(task.train));
  return splitExamples({ train: task.train }, { pool: size, test: 0, seed, balanced }).pool;
}

export const showBuildCommand = defineCommand({
  meta: { name: 'build', description: 'Encode the examples of a pool and keep them, so that asking finds them ready' },
  args: { ...showArguments, prefix: prefixArgument },
  run: async ({ args, io, signal }) => {
    const { instruction, prefix, storage } = args;
    const settings = defined({ instruction, prefix, storage });
    const { task, template } = await dataOf(args);
    const shots = shotsOf(template, poolOf(args, task));
    const model = await openForShots(args, io, signal);
    const bar = new Progress({ label: 'encoding', total: 1, silent: args.json });
    const started = performance.now();
    let loaded = 0;
    try {
      const pool = await ShotPool.build(model, shots, {
        ...settings,
        store: storeOf(args) ?? true,
        grow: { initial: 0 },
        signal,
        // here the store is all that is wanted
        onWarning: (warning) => {
          throw warning;
        },
        onEstimate: (estimate) => {
          // the bar itself says how long
          if (!args.json && estimate.seconds === null) io.err(`${describeWork(estimate)}\n`);
        },
        onProgress: (progress) => {
          loaded = progress.loaded;
          bar.update(progress.tokens / (progress.totalTokens || 1), `${progress.done} of ${progress.total}`);
        },
      });
      await pool.prepare(undefined, { signal });
      const { store, tokens } = await pool.stats();
      bar.end();
      const seconds = (performance.now() - started) / 1000;
      const built = { store: store!.name, shots: shots.length, loaded, tokens, bytes: store!.bytes, seconds };
      if (args.json) io.out(`${JSON.stringify(built)}\n`);
      else {
        const rows = [
          ['store', built.store],
          ['examples', `${built.shots}, ${loaded} of them were there`],
          ['tokens', `${tokens}`],
          ['size', `${formatBytes(built.bytes)}, with all else in it`],
          ['time', formatDuration(seconds)],
        ];
        io.out(`${formatTable(null, rows)}\n`);
      }
    } finally {
      bar.end();
      await model.close();
    }
  },
});
