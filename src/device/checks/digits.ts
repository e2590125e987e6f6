import type { Tensor } from '../device.ts';
import { type AddWholeOptions, type DigitArguments, MOST_DIGITS } from '../digit-device.ts';
import { checkApart, checkFloats, checkInts, elements, heightOf, shapeError, widthOf } from './tensor.ts';

export function checkTakeDigit({ x, along, exponents, first, place, out }: DigitArguments): void {
  checkFloats('takeDigit', x, out);
  checkInts('takeDigit', exponents);
  const [own, depth] = along === 'rows' ? [heightOf(x), widthOf(x)] : [widthOf(x), heightOf(x)];
  const [rows, count] = [heightOf(out), widthOf(out)];
  if (rows !== own || elements(exponents.shape) !== own) {
    throw shapeError('takeDigit', `${own} ${along}, ${elements(exponents.shape)} exponents, and [${rows}, ${count}]`);
  }
  if (!Number.isInteger(first) || first < 0 || first + count > depth) {
    throw shapeError('takeDigit', `${count} of ${depth} from ${first} on`);
  }
  if (!Number.isInteger(place) || place < 0 || place >= MOST_DIGITS) {
    throw shapeError('takeDigit', `digit ${place} of ${MOST_DIGITS}`);
  }
  checkApart('takeDigit', out, x, exponents);
}

export function checkAddWhole(x: Tensor, sums: Tensor, { factor }: AddWholeOptions): void {
  checkFloats('addWhole', x);
  checkInts('addWhole', sums);
  if (elements(x.shape) !== elements(sums.shape)) {
    throw shapeError('addWhole', `${elements(x.shape)} elements to ${elements(sums.shape)}`);
  }
  if (!Number.isInteger(factor) || Math.abs(factor) >= 2 ** 31) throw shapeError('addWhole', `the factor is ${factor}`);
  checkApart('addWhole', sums, x);
}
