import type { Example } from '../datasets/data.ts';
import type { TaskData } from '../datasets/files.ts';
import { splitExamples } from '../datasets/splits.ts';
import { EspalierError, throwIfAborted } from '../errors.ts';
import type { LocalModel } from '../model/model.ts';
import { checked } from '../options/check.ts';
import { isOptions, refusal } from '../options/rules.ts';
import { checkedModel } from '../show/checks.ts';
import { checkArm, openArm, Pools } from './answerers.ts';
import type { Arm } from './arms.ts';
import { type EvaluateOptions, evaluateOptions } from './options.ts';
import { type Setting, settingOf } from './setting.ts';
import type { EvaluationRecord, ItemResult, SkippedArm } from './types.ts';

/**
 * Answers test items in every arm and records what comes out. Arms follow each other, so that those of one kind share a pool; an arm
 * that does not fit the model's context is skipped. What `done` holds is not done again, so an evaluation that was aborted goes on.
 *
 * @returns all records, those of `done` first
 * @throws E_ARGUMENT for data without labels, or fewer examples than are asked for; E_ABORTED, E_OUT_OF_MEMORY; what `onRecord` throws
 */
export async function evaluate(
  model: LocalModel,
  task: TaskData,
  options: EvaluateOptions,
): Promise<readonly EvaluationRecord[]> {
  checkedModel(model);
  options = evaluationOf(options);
  if (task?.kind !== 'labels') {
    throw new EspalierError('E_ARGUMENT', 'The data have outputs and no labels.', 'Give data with labels.');
  }
  const { signal, seeds = 1, pool } = options;
  const large = options.arms.find((arm) => 'shots' in arm && arm.shots > pool);
  if (large) {
    throw new EspalierError(
      'E_ARGUMENT',
      `${large.name} needs more shots than the ${pool} of the pool.`,
      'Give a larger pool, or leave the arm out.',
    );
  }
  for (const arm of options.arms) checkArm(arm, { options, labels: task.labels });
  const records: EvaluationRecord[] = [...(options.done ?? [])];
  for (const [i, one] of records.entries()) if (!isOptions(one)) throw refusal(`done[${i}]`, one, 'records');
  const key = (arm: string, seed: number, item: number | 'all') => `${arm} ${seed} ${item}`;
  const known = new Set(records.map((r) => key(r.arm, r.seed, 'skipped' in r ? 'all' : r.item)));
  const arms = options.arms.filter(({ kind }) => kind !== 'oracle');
  const own = itemsOf(options);
  const total = arms.length * seeds * own.length;
  let done = 0;
  const record = async (made: EvaluationRecord) => {
    await options.onRecord?.(made);
    records.push(made);
  };
  for (let seed = options.seed ?? 0; seed < (options.seed ?? 0) + seeds; seed++) {
    const { pool, test, dev = 0, balanced = false } = options;
    const split = splitExamples(task, { pool, test, dev, balanced, seed });
    const now = { arm: '', done: 0 };
    const setting = settingOf(model, task, split.pool, split.dev, options, seed, (what, ready, all) => {
      options.onProgress?.({ ...now, total, preparing: { what, done: ready, total: all } });
    });
    const pools = new Pools(setting);
    try {
      for (const arm of arms) {
        const missing = own.filter((item) => !known.has(key(arm.name, seed, item)));
        const tell = (left: number) => {
          Object.assign(now, { arm: arm.name, done: done + own.length - left });
          options.onProgress?.({ ...now, total, preparing: null });
        };
        if (!known.has(key(arm.name, seed, 'all')) && missing.length > 0) {
          tell(missing.length);
          try {
            await runArm(arm, setting, pools, split.test, missing, record, tell);
          } catch (error) {
            const skipped = doesNotFit(error, arm.name, seed);
            if (skipped === null) throw error;
            await record(skipped);
          }
        }
        done += own.length;
      }
    } finally {
      pools.close();
    }
  }
  throwIfAborted(signal);
  return records;
}

/** @throws E_ARGUMENT */
function evaluationOf(options: EvaluateOptions): EvaluateOptions {
  const given = checked<EvaluateOptions>(evaluateOptions, options, 'evaluate()');
  for (const name of ['arms', 'template', 'pool', 'test'] as const) {
    if (given[name] === undefined) {
      throw new EspalierError('E_ARGUMENT', `There is no option ${name}.`, `Give ${evaluateOptions[name].takes}.`);
    }
  }
  return given;
}

/** Indices of the items that are answered. */
function itemsOf({ test, shard = { part: 1, of: 1 } }: EvaluateOptions): readonly number[] {
  const { part, of } = shard;
  return Array.from({ length: test }, (_, item) => item).filter((item) => item % of === part - 1);
}

async function runArm(
  arm: Arm,
  setting: Setting,
  pools: Pools,
  items: readonly Example[],
  missing: readonly number[],
  record: (made: ItemResult) => Promise<void>,
  tell: (left: number) => void,
): Promise<void> {
  const { signal } = setting.options;
  const answerer = await openArm(arm, setting, pools);
  try {
    for (const [i, item] of missing.entries()) {
      throwIfAborted(signal);
      const { input, output } = items[item]!;
      const compare = item < (setting.options.fidelity ?? 0);
      const got = await answerer.answer(input, compare);
      await record({ arm: arm.name, seed: setting.seed, item, truth: output, ...got });
      tell(missing.length - i - 1);
    }
  } finally {
    answerer.close();
  }
}

/** Null for any other error. */
function doesNotFit(error: unknown, arm: string, seed: number): SkippedArm | null {
  if (!(error instanceof EspalierError) || error.code !== 'E_CONTEXT_LENGTH') return null;
  return { arm, seed, skipped: `${error.code}: ${error.message}` };
}
