import { throwIfAborted } from '../../errors.ts';
import { equalBytes } from '../../runtime/files/bytes.ts';
import { EMBEDDING, HEAD } from '../layer-tensors.ts';
import { emptyTable, putAs, type TensorTable } from '../tensor-table.ts';
import type { TensorEntry } from '../types.ts';

/**
 * Tensors under the names of a causal language model (`model.layers.…`, `lm_head.weight`), as transformers loads them into one: what
 * the export of a base model calls `layers.…`, and what stands one `model.` too deep.
 *
 * @returns also whether they are the export of a base model, which has no output matrix of its own
 * @throws E_CHECKPOINT_HEADER when two tensors come to the same name
 */
export function canonicalPrefixes(table: TensorTable, file: string): { table: TensorTable; baseExport: boolean } {
  let bare = false;
  let full = false;
  const named = emptyTable();
  const name = (stored: string): string => {
    const found = canonical(stored);
    if (found !== stored && !stored.startsWith('model.')) bare = true;
    else if (found.startsWith('model.')) full = true;
    return found;
  };
  for (const [stored, tensor] of [...table.tensors, ...table.unsupported]) putAs(named, name(stored), tensor, file);
  return { table: named, baseExport: bare && !full };
}

function canonical(stored: string): string {
  if (/^(?:embed_tokens|norm|layers\.\d+)\./.test(stored)) return `model.${stored}`;
  return /^model\.(?:model|lm_head)\./.test(stored) ? stored.slice('model.'.length) : stored;
}

/**
 * Settles what logits come from, as transformers does: a tied model whose file holds an output matrix that differs from the embedding uses
 * both; one whose file holds only the output matrix takes it for the embedding too. A tied model that stores its embedding twice has
 * one matrix. The two are read and compared only then, and only until they differ.
 *
 * @returns whether the embedding is the output matrix, a table in which the embedding is, and what is to be said about it
 * @throws E_FILE_READ, E_CHECKPOINT_TRUNCATED, E_ABORTED
 */
export async function settleTie(
  table: TensorTable,
  tied: boolean,
  signal?: AbortSignal,
): Promise<{ table: TensorTable; tied: boolean; note: string | null }> {
  const embedding = table.tensors.get(EMBEDDING);
  const head = table.tensors.get(HEAD);
  if (!tied || !head) return { table, tied, note: null };
  if (!embedding) {
    if (table.unsupported.has(EMBEDDING)) return { table, tied, note: null };
    const tensors = new Map(table.tensors).set(EMBEDDING, { ...head, name: EMBEDDING });
    return {
      table: { ...table, tensors },
      tied,
      note: `There is no ${EMBEDDING}; ${HEAD}, which it is tied to, is used.`,
    };
  }
  if (await same(embedding, head, signal)) return { table, tied, note: null };
  return {
    table,
    tied: false,
    note: `tie_word_embeddings is true, but the file holds a ${HEAD} that differs from the embedding; it is used.`,
  };
}

const PIECE = 1 << 20;

/** Whether two tensors hold the same bytes. */
async function same(a: TensorEntry, b: TensorEntry, signal: AbortSignal | undefined): Promise<boolean> {
  if (a.type !== b.type || a.byteLength !== b.byteLength || a.rowOrder !== b.rowOrder) return false;
  if (a.source === b.source && a.offset === b.offset) return true;
  // shorter ones first: most that differ do so at once
  let size = 4096;
  const [left, right] = [new Uint8Array(PIECE), new Uint8Array(PIECE)];
  for (let at = 0; at < a.byteLength; ) {
    throwIfAborted(signal);
    const length = Math.min(size, a.byteLength - at);
    const [x, y] = [left.subarray(0, length), right.subarray(0, length)];
    await Promise.all([a.source.readInto(a.offset + at, x), b.source.readInto(b.offset + at, y)]);
    if (!equalBytes(x, y)) return false;
    at += length;
    size = PIECE;
  }
  return true;
}
