import { EspalierError } from '../../errors.ts';
import type { ModelFiles } from '../files/source.ts';

/** What a job that was interrupted needs to go on. It lies in the folder while that is being written, and is no part of the result. */
export const JOURNAL = 'espalier-journal.jsonl';

/** States of a training: `espalier-training-000200.json` says what is known after 200 steps, the file of the same name with tensors holds them. */
export const STATE = /^espalier-training-(?:best-)?(\d{6,})\.(json|safetensors)$/;
/** Whether a file is a part of a state, and of no result. */
export const isState = (name: string): boolean => STATE.test(name);

/**
 * A folder that is being written, by one writer alone. Nothing is under its final name before `commit`. End it with exactly one of
 * `commit`, `discard` and `release`. Names are those of files in this very folder, or in a folder of it: `static/adapter_config.json`.
 */
export interface OutputFolder {
  /** For messages: the final path. */
  readonly name: string;
  /** The life of what is written and not synced: it is there as long as this machine runs on. Kept in the journal. */
  readonly boot: string;
  /** Whether what was written under that `boot`, by this process or an earlier one, is there even if it was never synced. */
  survived(boot: string): boolean;
  /** Bytes that the host says are free for it; null when it does not say. */
  free(): Promise<number | null>;
  /**
   * Opens a file for writing behind its first `keep` bytes (0: anew); longer content is cut off.
   * @throws E_FILE_WRITE, also when the file is shorter than `keep`; E_STORAGE_FULL
   */
  file(name: string, keep: number): Promise<OutputFile>;
  /** Null when it is not there. */
  size(name: string): Promise<number | null>;
  /** A small file; null when it is not there. @throws E_FILE_READ */
  readBytes(name: string): Promise<Uint8Array | null>;
  /** Writes a small file as a whole, or not at all. @throws E_STORAGE_FULL, E_FILE_WRITE */
  writeBytes(name: string, bytes: Uint8Array): Promise<void>;
  /** One that is not there is as good. @throws E_FILE_WRITE */
  remove(name: string): Promise<void>;
  /**
   * Removes what is there, the journal and what lies in folders too.
   * @param keeps whether a file of this name stays
   * @throws E_FILE_WRITE
   */
  clear(keeps: (name: string) => boolean): Promise<void>;
  /** What is written so far, the journal and folders left out, to be opened as a model. */
  files(): Promise<ModelFiles>;
  /** Whether all that was written and closed is there as it was left. @throws E_FILE_WRITE when somebody else has removed or changed it */
  check(): Promise<void>;
  /**
   * Checks and syncs everything, removes the journal and gives the folder its final name. When it fails the folder stays as it is, to be
   * committed again or released. @throws E_STORAGE_FULL, E_FILE_WRITE
   */
  commit(): Promise<void>;
  /** Removes all of it. */
  discard(): Promise<void>;
  /** Closes what is open and leaves the rest for a later run. */
  release(): Promise<void>;
}

/** A file of it. Calls wait for each other only where that is said. */
export interface OutputFile {
  /** Bytes written, those kept from earlier included. */
  readonly size: number;
  /**
   * Appends. The array belongs to the file until the promise resolves, and only then the next may be written.
   * @throws E_STORAGE_FULL, E_FILE_WRITE
   */
  write(bytes: Uint8Array): Promise<void>;
  /** What was written before the call outlives a power failure. May be called while the next write is under way. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** What went wrong with a write, by the host's code for it. */
export function outputFailed(place: string, cause: unknown): EspalierError {
  if (cause instanceof EspalierError) return cause;
  const { code, name } = (cause ?? {}) as { code?: unknown; name?: unknown };
  if (code === 'ENOSPC' || code === 'EDQUOT' || name === 'QuotaExceededError') {
    // what can be gone on with is kept, and of what is written at once nothing stays: who starts again need not know
    const hint = 'Free space, and start the same again.';
    return new EspalierError('E_STORAGE_FULL', `There is no space left for ${place}.`, hint, { cause });
  }
  const hint =
    code === 'EFBIG'
      ? 'The file system or a limit forbids files of this size: ask for smaller shards.'
      : 'Check permissions and the storage, or choose another folder.';
  return new EspalierError('E_FILE_WRITE', `${place} could not be written.`, hint, { cause });
}

/** Nothing can climb out of the folder. @throws E_ARGUMENT */
export function checkInside(name: string): void {
  const parts = name.split('/');
  if (parts.length <= 2 && parts.every((part) => /^[^\\:\0]+$/.test(part) && part !== '.' && part !== '..')) return;
  throw new EspalierError(
    'E_ARGUMENT',
    `${JSON.stringify(name).slice(0, 200)} is no name of a file in this folder, or in a folder of it.`,
    'Give a name with at most one slash.',
  );
}

/** Of a name, the folder in which the file lies; null: in the very folder that is written. */
export function folderIn(name: string): string | null {
  const at = name.indexOf('/');
  return at < 0 ? null : name.slice(0, at);
}
