/** Texts, and lists of objects that have some. */
import { EspalierError } from '../errors.ts';
import { readable } from './check.ts';
import { shown } from './shown.ts';

/** @throws E_ARGUMENT */
export function checkedText(value: unknown, name: string): string {
  if (typeof value === 'string') return value;
  throw new EspalierError('E_ARGUMENT', `${name} is ${shown(value)}.`, 'Give a text.');
}

type Member = readonly [name: string, optional: boolean];

/** A list of objects whose named members are texts; others may be there. @throws E_ARGUMENT */
export function checkedList<T>(list: unknown, name: string, members: readonly Member[]): readonly T[] {
  return readable(name, () => {
    if (!Array.isArray(list)) throw refused(`${name} are ${shown(list)}.`, 'Give a list.');
    for (let i = 0; i < list.length; i++) {
      const one: unknown = list[i];
      if (typeof one !== 'object' || one === null) {
        throw refused(
          `${name}[${i}] is ${shown(one)}.`,
          `Give objects with ${members.map(([member]) => member).join(', ')}.`,
        );
      }
      for (const [member, optional] of members) {
        const value = (one as Readonly<Record<string, unknown>>)[member];
        if (typeof value === 'string' || (optional && value === undefined)) continue;
        throw refused(`${name}[${i}].${member} is ${shown(value)}.`, 'Give a text.');
      }
    }
    return list as readonly T[];
  });
}

export function refused(what: string, hint: string): EspalierError {
  return new EspalierError('E_ARGUMENT', what, hint);
}
