import { EspalierError } from '../../errors.ts';
import { complete } from '../../options/check.ts';
import {
  type AnyRule,
  anything,
  byName,
  either,
  nothing,
  oneOf,
  type Rule,
  type Schema,
  whole,
  words,
} from '../../options/rules.ts';
import { sha256 } from '../../runtime/files/hash.ts';
import { STATE } from '../../runtime/output/output.ts';
import type { TrainingProgress } from '../trainer.ts';
import { damaged, type WrittenFile } from './tensors.ts';

export const FORMAT = 'espalier-training-state';
export const VERSION = 2;
/** Bytes of the largest description. */
const MOST = 1 << 26;

/** What decides the course of a training: a state is gone on with only where all of it is the same. */
export interface Identity {
  readonly options: unknown;
  /** Digests. */
  readonly model: string;
  readonly data: string;
}

/** What is known of a job beside its tensors: plain data. */
export interface StepsDone {
  readonly step: number;
}

/** A state as it stands in a folder. */
export interface SavedState<P extends StepsDone = TrainingProgress> {
  readonly format: typeof FORMAT;
  readonly version: typeof VERSION;
  readonly identity: Identity;
  readonly progress: P;
  /** What computed it, for the same bits: of the wasm device its kernels. Whoever opens a device by it looks at it. */
  readonly device: unknown;
  /** By parameter: steps that it was trained in, of those that were. */
  readonly updates: Readonly<Record<string, number>>;
  /** Weights and moments. */
  readonly tensors: WrittenFile;
  /** Weights alone, of the best held-out loss. */
  readonly best: WrittenFile | null;
}

const writtenFile = { name: words, bytes: whole(8), sha256: words } as const satisfies Schema<WrittenFile>;
const file = complete<WrittenFile>(writtenFile, 'tensors');

const identity = { options: anything, model: words, data: words } as const satisfies Schema<Identity>;

const known = {
  format: oneOf(FORMAT),
  version: whole(VERSION, VERSION) as Rule<typeof VERSION>,
  identity: complete<Identity>(identity, 'identity'),
  device: anything,
  updates: byName(whole(0)),
  tensors: file,
  best: either(file, nothing),
} as const satisfies Schema<Omit<SavedState<StepsDone>, 'progress'>>;

/** A state as it stands in a file, with a digest of all that it says. */
export async function describe<P extends StepsDone>(state: SavedState<P>): Promise<Uint8Array> {
  const sum = await sha256(JSON.stringify(state));
  return new TextEncoder().encode(`${JSON.stringify({ ...state, sum })}\n`);
}

/**
 * What a file says of a state. Null: it was not written to its end, or is none.
 * @param name for messages
 * @throws E_FILE_READ for one that is not what was written; E_ARGUMENT for one of another version
 */
export async function readDescription<P extends StepsDone>(
  bytes: Uint8Array | null,
  name: string,
  progress: Rule<P>,
): Promise<SavedState<P> | null> {
  if (bytes === null || bytes.byteLength > MOST) return null;
  let content: unknown;
  try {
    content = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
  if ((content as { format?: unknown } | null)?.format !== FORMAT) return null;
  const { sum, ...rest } = content as Record<string, unknown>;
  if (rest['version'] !== VERSION) {
    throw new EspalierError(
      'E_ARGUMENT',
      `${name} is of another version of this program.`,
      'Go on with that version, pass `restart: true` to begin anew, or choose another folder.',
    );
  }
  if ((await sha256(JSON.stringify(rest))) !== sum) throw damaged(name);
  const fields = { ...known, progress: progress as AnyRule as Rule<StepsDone> };
  try {
    const state = complete<SavedState<StepsDone>>(fields, 'state').check(rest, 'state');
    const files = [state.tensors, ...(state.best ? [state.best] : [])];
    if (files.every((own) => STATE.test(own.name))) return state as SavedState<P>;
  } catch (cause) {
    throw damaged(name, cause);
  }
  throw damaged(name);
}
