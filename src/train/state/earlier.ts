import { EspalierError } from '../../errors.ts';
import { JOURNAL, type OutputFolder } from '../../runtime/output/output.ts';
import type { TrainingProgress } from '../trainer.ts';
import {
  checkIdentity,
  clearStates,
  type Identity,
  isState,
  type SavedState,
  States,
  type StepsDone,
} from './states.ts';

/**
 * What an earlier run has left: its state, to go on from.
 * @param options `result`: the file that a job writes last
 * @throws E_ARGUMENT for what is of another job
 */
export async function earlierState<P extends StepsDone = TrainingProgress>(
  out: OutputFolder,
  known: Omit<Identity, 'model'>,
  { restart, result }: { readonly restart: boolean; readonly result: string },
): Promise<SavedState<P> | null> {
  if (restart) {
    await clearStates(out);
    await out.remove(JOURNAL);
    return null;
  }
  const saved = await States.latest<P>(out);
  if (saved) checkIdentity(saved, known, out.name);
  else if ((await out.size(JOURNAL)) !== null || (await out.size(result)) !== null) {
    throw new EspalierError(
      'E_ARGUMENT',
      `${out.name} is half written by another job.`,
      'Finish that one, pass `restart: true` to throw its work away, or choose another folder.',
    );
  }
  return saved;
}

/** The files of the result: states are no part of it. */
export async function resultFiles(out: OutputFolder): Promise<{ name: string; bytes: number }[]> {
  const names = (await out.files()).names.filter((name) => !isState(name)).sort();
  return Promise.all(names.map(async (name) => ({ name, bytes: (await out.size(name)) ?? 0 })));
}
