/** How rows of q and k stand in a file, see `TensorEntry.rowOrder`. */
export type RowOrder = 'plain' | 'llama-permuted';

/**
 * Which stored row is row `row` of Hugging Face's order, in a matrix (or a bias) whose heads have `headDim` rows: llama.cpp turns neighbours
 * where Hugging Face turns halves, so stored row h·d + 2j + s is row h·d + s·d/2 + j (h head, d head size, s 0 or 1). It stays in its head.
 */
export function storedRow(order: RowOrder, row: number, headDim: number): number {
  switch (order) {
    case 'plain':
      return row;
    case 'llama-permuted': {
      const r = row % headDim;
      const half = headDim / 2;
      return row - r + (r < half ? 2 * r : 2 * (r - half) + 1);
    }
    default:
      return order satisfies never;
  }
}
