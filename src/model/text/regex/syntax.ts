import type { CharSet } from './sets.ts';

/** A position, not a character. */
export type Assertion =
  | 'line-start'
  | 'line-end'
  | 'start'
  | 'end'
  | 'end-or-last-newline'
  | 'word-boundary'
  | 'no-word-boundary';

/** A regular expression, as parsed. */
export type Node =
  | { readonly kind: 'set'; readonly set: CharSet }
  | { readonly kind: 'sequence'; readonly parts: readonly Node[] }
  | { readonly kind: 'choice'; readonly options: readonly Node[] }
  | {
      readonly kind: 'repeat';
      readonly body: Node;
      readonly least: number;
      readonly most: number;
      readonly greedy: boolean;
    }
  /** Matched as if alone: what follows cannot make it match otherwise. */
  | { readonly kind: 'atomic'; readonly body: Node }
  | { readonly kind: 'look'; readonly body: Node; readonly behind: boolean; readonly negative: boolean }
  | { readonly kind: 'assert'; readonly what: Assertion };

/** Whether it can match without taking a character. */
export function nullable(node: Node): boolean {
  switch (node.kind) {
    case 'set':
      return false;
    case 'sequence':
      return node.parts.every(nullable);
    case 'choice':
      return node.options.some(nullable);
    case 'repeat':
      return node.least === 0 || nullable(node.body);
    case 'atomic':
      return nullable(node.body);
    case 'look':
    case 'assert':
      return true;
    default:
      throw node satisfies never;
  }
}

/** How many characters it takes, when that is always the same number; else null. */
export function fixedLength(node: Node): number | null {
  switch (node.kind) {
    case 'set':
      return 1;
    case 'sequence': {
      let sum = 0;
      for (const part of node.parts) {
        const length = fixedLength(part);
        if (length === null) return null;
        sum += length;
      }
      return sum;
    }
    case 'choice': {
      const lengths = node.options.map(fixedLength);
      return lengths.every((length) => length === lengths[0]) ? lengths[0]! : null;
    }
    case 'repeat': {
      const length = fixedLength(node.body);
      return node.least === node.most && length !== null ? length * node.least : null;
    }
    case 'atomic':
      return fixedLength(node.body);
    case 'look':
    case 'assert':
      return 0;
    default:
      throw node satisfies never;
  }
}

/**
 * The characters with which a match can begin: sets, or null when it cannot be told (it may be empty, or begins with an
 * assertion).
 */
export function firstSets(node: Node): readonly CharSet[] | null {
  switch (node.kind) {
    case 'set':
      return [node.set];
    case 'sequence': {
      const sets: CharSet[] = [];
      for (const part of node.parts) {
        if (part.kind === 'look' || part.kind === 'assert') continue; // it can only narrow the choice
        const first = part.kind === 'repeat' && part.least === 0 ? firstSets(part.body) : firstSets(part);
        if (first === null) return null;
        sets.push(...first);
        if (!nullable(part)) return sets;
      }
      return null;
    }
    case 'choice': {
      const all = node.options.map(firstSets);
      return all.some((sets) => sets === null) ? null : all.flatMap((sets) => sets!);
    }
    case 'repeat':
      return node.least === 0 ? null : firstSets(node.body);
    case 'atomic':
      return firstSets(node.body);
    case 'look':
    case 'assert':
      return null;
    default:
      throw node satisfies never;
  }
}
