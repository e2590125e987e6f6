import { checked } from '../../options/check.ts';
import type { PlannedPruning } from '../../prune/job/planned.ts';
import type { ModelTarget } from '../../runtime/files/model-files.ts';
import { Crossing } from '../line/crossing.ts';
import { runJob } from '../line/job.ts';
import { type PlanPruneOptions, type PruneOptions, planPruneThereOptions, pruneThereOptions } from './options.ts';
import { PRUNE, type PruneCalls, type Pruned } from './protocol.ts';

/**
 * Steps, parameters and memory of a pruning, from its data and the headers of its models, found out in a worker.
 * @throws as `prune` for what can be found before work begins, but for a want of memory, which it tells
 */
export async function planPrune(source: ModelTarget, options: PlanPruneOptions = {}): Promise<PlannedPruning> {
  const { wire, moved } = wired(checked<PlanPruneOptions>(planPruneThereOptions, options, 'planPrune'));
  return runJob<PruneCalls, 'planPrune'>(PRUNE, 'planPrune', source, wire, { moved });
}

/**
 * Makes an adapter with which a model forgets what is named and keeps the rest, a reconstruction of ALTER (arXiv 2603.01792), in a worker of its own
 * that ends with the call. Into a folder, a job that was interrupted goes on where its last state was kept when it is called again with the same
 * arguments. An abort is heard within a second, and rejects when the state has been kept.
 *
 * @throws as `prune` of `espalier/prune`; E_NO_ISOLATION, E_DEVICE_UNSUPPORTED, E_WORKER_LOST
 */
export async function prune(source: ModelTarget, options: PruneOptions = {}): Promise<Pruned> {
  const { wire, moved } = wired(checked<PruneOptions>(pruneThereOptions, options, 'prune'));
  return runJob<PruneCalls, 'prune'>(PRUNE, 'prune', source, wire, { moved, patient: true });
}

/** Options as they cross. */
function wired<T extends PlanPruneOptions>(options: T): { wire: T; moved: ArrayBuffer[] } {
  const crossing = new Crossing(options.transfer);
  const { base, reference, earlier } = options;
  const wire = {
    ...options,
    forget: crossing.data(options.forget),
    retain: crossing.data(options.retain),
    unseen: crossing.data(options.unseen),
    ...(base !== undefined && { base: crossing.model(base) }),
    ...(reference !== undefined && { reference: crossing.model(reference) }),
    ...(earlier !== undefined && { earlier: crossing.model(earlier) }),
  };
  return { wire, moved: crossing.moved };
}
