/** Objects of JSON in texts, compared pair by pair. */
import { plainForm } from './plain-form.ts';

/** The first object of JSON in a text, whatever stands around it; null where there is none, or it is not valid or not closed. */
export function objectIn(text: string): Readonly<Record<string, unknown>> | null {
  const first = text.indexOf('{');
  if (first < 0) return null;
  let depth = 0;
  let quoted = false;
  for (let i = first; i < text.length; i++) {
    const sign = text[i];
    if (quoted) {
      if (sign === '\\') i++;
      else if (sign === '"') quoted = false;
    } else if (sign === '"') quoted = true;
    else if (sign === '{') depth++;
    else if (sign === '}' && --depth === 0) return parsed(text.slice(first, i + 1));
  }
  return null;
}

function parsed(text: string): Readonly<Record<string, unknown>> | null {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * Pairs of a path and a value, as texts. Objects within are gone into; members of lists all have the path of their list, so that their order does not
 * matter. Texts are compared as `exact` compares them, other values as JSON; an empty object or list within is a value.
 */
export function pairsOf(object: Readonly<Record<string, unknown>>): readonly string[] {
  const pairs: string[] = [];
  // on a list, not by calls: a text may nest as deeply as it is long
  const open: { readonly path: string; readonly value: unknown }[] = [];
  const into = (path: string, value: object): void => {
    for (const [key, member] of Object.entries(value)) {
      open.push({ path: `${path}${JSON.stringify(Array.isArray(value) ? [] : key)}`, value: member });
    }
  };
  into('', object);
  for (let next = open.pop(); next; next = open.pop()) {
    const { path, value } = next;
    if (typeof value === 'object' && value !== null && Object.keys(value).length > 0) into(path, value);
    else pairs.push(`${path}:${JSON.stringify(typeof value === 'string' ? plainForm(value) : value)}`);
  }
  return pairs;
}

/** F1 of two lists in which a pair may stand several times: 2 · common / all; of two empty ones 1. */
export function pairsF1(own: readonly string[], wanted: readonly string[]): number {
  if (own.length + wanted.length === 0) return 1;
  const left = new Map<string, number>();
  for (const pair of wanted) left.set(pair, (left.get(pair) ?? 0) + 1);
  let common = 0;
  for (const pair of own) {
    const count = left.get(pair) ?? 0;
    if (count === 0) continue;
    left.set(pair, count - 1);
    common++;
  }
  return (2 * common) / (own.length + wanted.length);
}
