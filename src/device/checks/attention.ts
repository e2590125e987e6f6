import type { AttentionArguments, Tensor } from '../device.ts';
import { checkApart, checkFloats, checkInts, elements, heightOf, shapeError, widthOf } from './tensor.ts';

export function checkAttention(args: AttentionArguments): void {
  const { q, keys, values, out, base, nHeads, nKvHeads, headDim, mask, split } = args;
  checkFloats('attention', q, keys, values, out);
  const [rows, width, cacheWidth] = [heightOf(q), widthOf(q), nKvHeads * headDim];
  const room = Math.min(heightOf(keys), heightOf(values));
  if (
    width !== nHeads * headDim ||
    widthOf(out) !== width ||
    heightOf(out) !== rows ||
    widthOf(keys) !== cacheWidth ||
    widthOf(values) !== cacheWidth ||
    !Number.isInteger(base) ||
    base < 0 ||
    base + rows > room ||
    nHeads % nKvHeads !== 0
  ) {
    throw shapeError('attention', `q [${rows}, ${width}] over a cache [${room}, ${widthOf(keys)}] from ${base}`);
  }
  if (split && !mask) throw shapeError('attention', 'a split without a mask');
  if (mask) checkMask(mask, rows, out);
  if (mask && split) {
    checkMask(split.mask, rows, out);
    if (elements(split.mask.shape) !== elements(mask.shape)) throw shapeError('attention', 'the two masks differ');
  }
  checkApart('attention', out, q, keys, values);
}

function checkMask(mask: Tensor, rows: number, out: Tensor): void {
  checkInts('attention', mask);
  const size = elements(mask.shape);
  if (size !== 3 * rows && size !== 6 * rows) throw shapeError('attention', `a mask of ${size} for ${rows} rows`);
  checkApart('attention', out, mask);
}
