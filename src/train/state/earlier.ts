import { beginAnew } from '../../checkpoint/write/begin-anew.ts';
import { type Arithmetic, arithmetic } from '../../device/open-device.ts';
import { EspalierError } from '../../errors.ts';
import { isOptions, type Rule } from '../../options/rules.ts';
import { intoOutput } from '../../runtime/output/into.ts';
import { isState, type OutputFolder, STATE } from '../../runtime/output/output.ts';
import type { Identity, SavedState, StepsDone } from './description.ts';
import { checkIdentity, States } from './states.ts';
import { damaged } from './tensors.ts';

/** What the journals of results say that writes them: all of it can be made again from a state, or by training again. */
export const TRAINING_JOB = 'training';

/**
 * What an earlier run has left: its state, to go on from. Without one there is nothing to go on from, and whatever of a result lies there goes:
 * it would become a part of the new one.
 * @param options `progress`: what the state of such a job says of it
 * @throws E_ARGUMENT for what is of another job, E_FILE_READ for a state that is damaged
 */
export async function earlierState<P extends StepsDone>(
  out: OutputFolder,
  known: Omit<Identity, 'model'>,
  { restart, progress }: { readonly restart: boolean; readonly progress: Rule<P> },
): Promise<(SavedState<P> & { readonly device: Arithmetic }) | null> {
  const saved = restart ? null : await States.latest(out, progress);
  if (saved) {
    checkIdentity(saved, known, out.name);
    return { ...saved, device: savedArithmetic(saved) };
  }
  await beginAnew(out, { restart, job: TRAINING_JOB, states: true });
  return null;
}

/**
 * Does a job into an output, as `intoOutput`; an abort tells what is kept there, which the next call goes on from.
 * @throws as `intoOutput`
 */
export function intoKept<T>(to: string | URL | OutputFolder, run: (out: OutputFolder) => Promise<T>): Promise<T> {
  return intoOutput(to, async (out) => {
    try {
      return await run(out);
    } catch (error) {
      throw await withState(out, error);
    }
  });
}

/** @returns the same error, or one of the same code that says more */
async function withState(out: OutputFolder, error: unknown): Promise<unknown> {
  if (!(error instanceof EspalierError && error.code === 'E_ABORTED')) return error;
  const files = await out.files().catch(() => null);
  const steps = (files?.names ?? []).flatMap((name) => {
    const [, step, end] = STATE.exec(name) ?? [];
    return end === 'json' ? [Number(step)] : [];
  });
  if (steps.length === 0) return error;
  return new EspalierError(
    'E_ABORTED',
    `It was aborted, and what was done in ${steps.reduce((a, b) => Math.max(a, b))} steps is kept in ${out.name}.`,
    'Call it again with the same arguments to go on from there.',
    { cause: error.cause },
  );
}

function savedArithmetic({ device, tensors }: Pick<SavedState, 'device' | 'tensors'>): Arithmetic {
  try {
    return arithmetic.check(device, 'device');
  } catch (cause) {
    throw damaged(tensors.name, cause);
  }
}

/** The receipt that an earlier run wrote last, as far as it can be read: who compares it with what is wanted finds out what is missing. */
export async function earlierReceipt<R extends object>(out: OutputFolder, name: string): Promise<Partial<R> | null> {
  const bytes = await out.readBytes(name);
  if (bytes === null) return null;
  try {
    const receipt: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return isOptions(receipt) ? (receipt as Partial<R>) : null;
  } catch {
    return null;
  }
}

/** The files of the result: states are no part of it. */
export async function resultFiles(out: OutputFolder): Promise<{ name: string; bytes: number }[]> {
  const names = (await out.files()).names.filter((name) => !isState(name)).sort();
  return Promise.all(names.map(async (name) => ({ name, bytes: (await out.size(name)) ?? 0 })));
}
