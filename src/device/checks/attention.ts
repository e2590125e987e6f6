import type { AttentionArguments, Tensor } from '../device.ts';
import type { AttentionBackwardArguments } from '../train-device.ts';
import { checkApart, checkFloats, checkInts, elements, heightOf, shapeError, widthOf } from './tensor.ts';

export function checkAttention(args: AttentionArguments): void {
  const { q, out, mask, split, logSumExp } = args;
  checkOperands('attention', args, mask);
  const rows = heightOf(q);
  if (split && !mask) throw shapeError('attention', 'a split without a mask');
  if (split && logSumExp) throw shapeError('attention', 'a split has no log-sum-exp of its own');
  if (mask && split) {
    checkMask('attention', split.mask, rows);
    checkApart('attention', out, split.mask);
    if (elements(split.mask.shape) !== elements(mask.shape)) throw shapeError('attention', 'the two masks differ');
  }
  checkApart('attention', out, q, args.keys, args.values, mask);
  if (!logSumExp) return;
  checkSums('attention', logSumExp, rows * args.nHeads);
  checkApart('attention', logSumExp, q, args.keys, args.values, out);
  checkApart('attention', logSumExp, mask);
}

export function checkAttentionBackward(args: AttentionBackwardArguments): void {
  const { q, keys, values, out, mask, logSumExp, dOut, dQ, dKeys, dValues } = args;
  checkOperands('attentionBackward', args, mask);
  checkFloats('attentionBackward', dOut, dQ, dKeys, dValues);
  checkSums('attentionBackward', logSumExp, heightOf(q) * args.nHeads);
  checkLike('attentionBackward', 'dOut', dOut, q);
  checkLike('attentionBackward', 'dQ', dQ, q);
  checkLike('attentionBackward', 'dKeys', dKeys, keys);
  checkLike('attentionBackward', 'dValues', dValues, values);
  for (const written of [dQ, dKeys, dValues]) {
    checkApart('attentionBackward', written, q, keys, values, out);
    checkApart('attentionBackward', written, mask, logSumExp, dOut);
  }
  checkApart('attentionBackward', dQ, dKeys, dValues);
  checkApart('attentionBackward', dKeys, dValues);
}

/** What attention and its way back read alike. */
function checkOperands(operation: string, args: Omit<AttentionArguments, 'split'>, mask: Tensor | null): void {
  const { q, keys, values, out, base, nHeads, nKvHeads, headDim } = args;
  checkFloats(operation, q, keys, values, out);
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
    throw shapeError(operation, `q [${rows}, ${width}] over a cache [${room}, ${widthOf(keys)}] from ${base}`);
  }
  if (mask) checkMask(operation, mask, rows);
}

function checkMask(operation: string, mask: Tensor, rows: number): void {
  checkInts(operation, mask);
  const size = elements(mask.shape);
  if (size !== 3 * rows && size !== 6 * rows) throw shapeError(operation, `a mask of ${size} for ${rows} rows`);
}

function checkSums(operation: string, logSumExp: Tensor, size: number): void {
  checkFloats(operation, logSumExp);
  const given = elements(logSumExp.shape);
  if (given !== size) throw shapeError(operation, `${given} log-sum-exps, wanted are ${size}`);
}

function checkLike(operation: string, name: string, gradient: Tensor, of: Tensor): void {
  const [rows, width] = [heightOf(gradient), widthOf(gradient)];
  if (rows === heightOf(of) && width === widthOf(of)) return;
  throw shapeError(operation, `${name} [${rows}, ${width}] for [${heightOf(of)}, ${widthOf(of)}]`);
}
