import { isState, JOURNAL, type OutputFolder } from '../../runtime/output/output.ts';
import { isReceipt, isResultFile } from './result-names.ts';
import { checkNoOtherWork, otherWork } from './write-checkpoint.ts';

/** What may be thrown away without being asked for. */
export interface AnewOptions {
  /** All that is there. Default: whoever asks has no such option. */
  readonly restart?: boolean;
  /** Half written results, see `WriteOptions.job`. Default: of no job. */
  readonly job?: string;
  /** Parts of states: nothing can be gone on with. Default false. */
  readonly states?: boolean;
}

/**
 * Makes a folder ready for a result that is made from its beginning: what earlier jobs have left of theirs would become a part of it, and goes.
 * @throws E_ARGUMENT where the work of another job would be lost
 */
export async function beginAnew(out: OutputFolder, options: AnewOptions = {}): Promise<void> {
  if (options.restart) {
    await out.clear(() => false);
    return;
  }
  const restarts = options.restart !== undefined;
  await checkNoOtherWork(out, options.job, restarts);
  const { names } = await out.files();
  const isLost = names.some((name) => isReceipt(name) || (isState(name) && !options.states));
  if (isLost) throw otherWork(out.name, 'has the work of another job in it', { restarts });
  await out.clear((name) => name !== JOURNAL && !isState(name) && !isResultFile(name));
}
