/** What stands before the options of data sets. */
import { checkedList } from '../options/texts.ts';
import type { Example } from './data.ts';

/** @throws E_ARGUMENT */
export function checkedExamples(examples: unknown, name: string): readonly Example[] {
  return checkedList(examples, name, [
    ['input', false],
    ['output', false],
  ]);
}
