import type { Draw } from './draw.ts';

/** What stands for `{name}`: a text, or one that is made each time. */
export type Slots = Readonly<Record<string, string | (() => string)>>;

/** What chooses among alternatives. */
export type Chooser = Pick<Draw, 'int'>;

/** Always the first one. */
export const FIRST_ONE: Chooser = { int: (least) => least };

/**
 * A text of a rule: `[one|another|]` is one of these, which may hold others, and `{name}` a slot. `{Name}` is the slot `name` with a capital.
 */
export function expand(draw: Chooser, rule: string, slots: Slots): string {
  let at = 0;
  /** Up to the end of an alternative; chosen or not, every one is read. */
  const sequence = (isUsed: boolean): string => {
    let text = '';
    while (at < rule.length && rule[at] !== '|' && rule[at] !== ']') {
      const char = rule[at++]!;
      if (char === '[') {
        const chosen = choice(isUsed);
        if (isUsed) text += chosen;
      } else if (char === '{') {
        const end = rule.indexOf('}', at);
        const name = rule.slice(at, end);
        at = end + 1;
        if (isUsed) text += slot(name, slots);
      } else text += char;
    }
    return text;
  };
  const choice = (isUsed: boolean): string => {
    const start = at;
    let count = 1;
    for (sequence(false); rule[at] === '|'; count++) {
      at++;
      sequence(false);
    }
    const end = at + 1;
    const wanted = isUsed ? draw.int(0, count - 1) : -1;
    at = start;
    let text = '';
    for (let i = 0; i < count; i++, at++) {
      const one = sequence(i === wanted);
      if (i === wanted) text = one;
    }
    at = end;
    return text;
  };
  return sequence(true);
}

function slot(name: string, slots: Slots): string {
  const small = name.charAt(0).toLowerCase() + name.slice(1);
  const value = slots[name] ?? slots[small];
  if (value === undefined) throw new RangeError(`There is no slot {${name}}.`);
  const text = typeof value === 'string' ? value : value();
  return slots[name] === undefined ? text.charAt(0).toUpperCase() + text.slice(1) : text;
}

/** `a` or `an` before a word, by its first letter. */
export const withArticle = (word: string): string => `${/^[aeiou]/i.test(word) ? 'an' : 'a'} ${word}`;
