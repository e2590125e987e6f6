import type { DataSource } from '../../datasets/source.ts';
import { checked } from '../../options/check.ts';
import { defined } from '../../options/defined.ts';
import type { ModelTarget } from '../../runtime/files/model-files.ts';
import { runJob } from '../line/job.ts';
import { wireContent, wireTarget } from '../line/parted-options.ts';
import { type PruneOptions, pruneThereOptions } from './options.ts';
import { PRUNE, type PruneCalls, type Pruned } from './protocol.ts';

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

type Sources = DataSource | readonly DataSource[] | undefined;

/** Files and models as they cross: bytes are copied, once, unless they are given away. */
function wired(options: PruneOptions): { wire: PruneOptions; moved: ArrayBuffer[] } {
  const moved: ArrayBuffer[] = [];
  const give = options.transfer ?? false;
  const one = (source: DataSource): DataSource => {
    if (source instanceof URL) return source.href;
    if (!(source instanceof Uint8Array)) return source;
    const bytes = wireContent(source, give);
    moved.push(bytes.buffer);
    return bytes;
  };
  const all = (value: Sources): Sources =>
    value === undefined ? value : Array.isArray(value) ? value.map(one) : one(value as DataSource);
  const model = (target: ModelTarget | undefined): ModelTarget | undefined => {
    if (target === undefined) return target;
    const crossed = wireTarget(target, give);
    moved.push(...crossed.transfer);
    return crossed.target;
  };
  const { forget, retain, unseen, base, reference, earlier } = options;
  const given = {
    ...{ forget: all(forget), retain: all(retain), unseen: all(unseen) },
    ...{ base: model(base), reference: model(reference), earlier: model(earlier) },
  };
  return { wire: { ...options, ...defined(given) }, moved };
}
