import type { TaskData } from '../../datasets/files.ts';
import type { EvaluationRecord } from '../../evaluate/types.ts';
import type { Model } from '../model/model.ts';
import { parted, shownModel } from './line.ts';
import { type EvaluateOptions, storePlace } from './options.ts';
import type { ModelIdentity } from './protocol.ts';

/**
 * Answers test items in every arm and records what comes out, in the engine's worker; as `evaluate` of `espalier/show`. `onRecord` is waited
 * for, and an error of its own ends the evaluation.
 * @param model opened with `show: true`
 * @throws E_ARGUMENT for data without labels, or fewer examples than are asked for; E_ABORTED, E_OUT_OF_MEMORY, E_DISPOSED, E_WORKER_LOST;
 *   what `onRecord` throws
 */
export async function evaluate(
  model: Model,
  task: TaskData,
  options: EvaluateOptions,
): Promise<readonly EvaluationRecord[]> {
  const on = shownModel(model);
  const { data, signal, callbacks } = parted(options, 'evaluate');
  storePlace.check(data.store ?? null, 'store');
  // records may come from anything that is iterated, which would not cross
  const { done } = data;
  const given =
    typeof done === 'object' && done !== null && Symbol.iterator in done ? { ...data, done: [...done] } : data;
  return on.call('evaluate', [on.number, task, given], { signal, callbacks });
}

/** What tells a model's weights and tokenizer from any others, for files of results. */
export async function identityOf(model: Model): Promise<ModelIdentity> {
  const on = shownModel(model);
  return on.call('identity', [on.number]);
}
