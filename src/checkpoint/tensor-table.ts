import { EspalierError } from '../errors.ts';
import type { TensorEntry } from './types.ts';

/** What the files of a checkpoint hold, before a configuration is held against it. A name is in one of the two. */
export interface TensorTable {
  readonly tensors: Map<string, TensorEntry>;
  /** Names of tensors in types that we do not read, with the type's name in the file. */
  readonly unsupported: Map<string, string>;
}

export function emptyTable(): TensorTable {
  return { tensors: new Map(), unsupported: new Map() };
}

/**
 * Puts a tensor under a name that it has not in the file: an entry, or the name of a type that we do not read.
 * @throws E_CHECKPOINT_HEADER when two come to the same name, of which one would be lost
 */
export function putAs(table: TensorTable, name: string, tensor: TensorEntry | string, file: string): void {
  if (table.tensors.has(name) || table.unsupported.has(name)) {
    throw new EspalierError(
      'E_CHECKPOINT_HEADER',
      `${file} holds ${name.slice(0, 200)} twice, under two names.`,
      'Export the file again.',
    );
  }
  if (typeof tensor === 'string') table.unsupported.set(name, tensor);
  else table.tensors.set(name, tensor.name === name ? tensor : { ...tensor, name });
}

/** Product of the dimensions, or null when it is no safe integer or a dimension is no length. */
export function elementCount(shape: readonly unknown[]): number | null {
  let product = 1;
  let empty = false;
  for (const length of shape) {
    if (typeof length !== 'number' || !Number.isSafeInteger(length) || length < 0) return null;
    if (length === 0) empty = true;
    else product *= length;
    // checked at each step, zeros left out: a huge product times zero is still absurd
    if (product > Number.MAX_SAFE_INTEGER) return null;
  }
  return empty ? 0 : product;
}
