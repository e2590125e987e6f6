import { EspalierError } from '../../errors.ts';
import { readable } from '../../options/check.ts';
import { shown } from '../../options/shown.ts';

/**
 * A list of numbers that are none of NaN, at least one.
 * @param name of the list, for messages
 * @throws E_ARGUMENT
 */
export function checkedNumbers(
  list: unknown,
  name: string,
  { least = Number.NEGATIVE_INFINITY, most = Number.POSITIVE_INFINITY } = {},
): Float64Array {
  return readable(name, () => {
    if (!Array.isArray(list) && !(list instanceof Float64Array) && !(list instanceof Float32Array)) {
      throw refused(`${name} are ${shown(list)}.`, 'Give a list of numbers.');
    }
    if (list.length === 0) throw refused(`${name} are an empty list.`, 'Give one or more numbers.');
    for (let i = 0; i < list.length; i++) {
      const value: unknown = list[i];
      if (typeof value === 'number' && value >= least && value <= most) continue;
      const range =
        least === Number.NEGATIVE_INFINITY && most === Number.POSITIVE_INFINITY ? '' : ` from ${least} to ${most}`;
      throw refused(`${name}[${i}] is ${shown(value)}.`, `Give a number${range}.`);
    }
    return Float64Array.from(list);
  });
}

/** @throws E_ARGUMENT */
export function checkedNumber(value: unknown, name: string, least: number, most: number): number {
  if (typeof value === 'number' && value >= least && value <= most) return value;
  throw refused(`${name} is ${shown(value)}.`, `Give a number from ${least} to ${most}.`);
}

const refused = (what: string, hint: string): EspalierError => new EspalierError('E_ARGUMENT', what, hint);
