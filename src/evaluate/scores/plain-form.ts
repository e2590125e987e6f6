import { words } from './words.ts';

/** A text as `exact` compares it: NFC, in lower case, one space for any white space and none at the ends. Punctuation counts. */
export function plainForm(text: string): string {
  return words(text.normalize('NFC').toLowerCase()).join(' ');
}
