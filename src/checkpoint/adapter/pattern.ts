import { EspalierError } from '../../errors.ts';

/** What a pattern is made of. */
type Node =
  | { readonly kind: 'one'; readonly test: (character: string) => boolean }
  | { readonly kind: 'place'; readonly test: (text: string, at: number) => boolean }
  | { readonly kind: 'sequence' | 'choice'; readonly items: readonly Node[] }
  | { readonly kind: 'repeat'; readonly item: Node; readonly least: number; readonly most: number };

/** A step of the machine that a pattern becomes; `split` goes on at both places. */
type Step =
  | { readonly kind: 'one'; readonly test: (character: string) => boolean }
  | { readonly kind: 'place'; readonly test: (text: string, at: number) => boolean }
  | { readonly kind: 'split'; readonly to: readonly number[] }
  | { readonly kind: 'end' };

/** Steps of a machine, and characters of a pattern. */
const MOST_STEPS = 20_000;
const MOST_PARTS = 4 * MOST_STEPS;
const MOST_CHARACTERS = 4_000;
const MOST_DEPTH = 50;

const isWord = (character: string | undefined): boolean => character !== undefined && /^\w$/.test(character);
const atEdge = (text: string, at: number): boolean => isWord(text[at - 1]) !== isWord(text[at]);
const CLASSES: ReadonlyMap<string, RegExp> = new Map([
  ['d', /^\d$/],
  ['D', /^\D$/],
  ['w', /^\w$/],
  ['W', /^\W$/],
  ['s', /^\s$/],
  ['S', /^\S$/],
]);

/**
 * Whether a whole text is of a regular expression of Python's `re`, as `re.fullmatch` says it. All its ways are followed at once (Thompson
 * 1968), so that a pattern from somebody else's file cannot take for ever, as one with JavaScript's could.
 *
 * @param what the pattern, for messages
 * @throws E_ADAPTER for what is no pattern, and for look-around, back references, flags and possessive repetition, which are not read
 */
export function pythonPattern(source: string, what: string): (text: string) => boolean {
  const steps: Step[] = [];
  const fail = (why: string): never => {
    throw new EspalierError(
      'E_ADAPTER',
      `${what} is the pattern ${JSON.stringify(source.slice(0, 200))}: ${why}.`,
      'List the names of the modules instead.',
    );
  };
  if (source.length > MOST_CHARACTERS) fail(`it has more than ${MOST_CHARACTERS} characters`);
  const tree = new Parser(source, fail).parse();
  const emit = (step: Step): number => {
    if (steps.length >= MOST_STEPS) fail('it is too large');
    return steps.push(step) - 1;
  };
  // parts that need no step are counted, too: nothing may be repeated a milliard times
  let parts = 0;
  const compile = (node: Node): void => {
    if (++parts > MOST_PARTS) fail('it is too large');
    switch (node.kind) {
      case 'one':
      case 'place':
        emit(node);
        return;
      case 'sequence':
        for (const item of node.items) compile(item);
        return;
      case 'choice': {
        const begins: number[] = [];
        const ends: number[] = [];
        const fork = emit({ kind: 'end' });
        for (const item of node.items) {
          begins.push(steps.length);
          compile(item);
          ends.push(emit({ kind: 'end' }));
        }
        steps[fork] = { kind: 'split', to: begins };
        for (const end of ends) steps[end] = { kind: 'split', to: [steps.length] };
        return;
      }
      case 'repeat': {
        const { item, least, most } = node;
        for (let i = 0; i < least; i++) compile(item);
        if (most === Number.POSITIVE_INFINITY) {
          const fork = emit({ kind: 'end' });
          compile(item);
          emit({ kind: 'split', to: [fork] });
          steps[fork] = { kind: 'split', to: [fork + 1, steps.length] };
          return;
        }
        const forks: number[] = [];
        for (let i = least; i < most; i++) {
          forks.push(emit({ kind: 'end' }));
          compile(item);
        }
        for (const fork of forks) steps[fork] = { kind: 'split', to: [fork + 1, steps.length] };
        return;
      }
      default:
        node satisfies never;
    }
  };
  compile(tree);
  emit({ kind: 'end' });
  return (text) => run(steps, text);
}

function run(steps: readonly Step[], text: string): boolean {
  /** All places that are reached from one without a character. */
  const reach = (from: Iterable<number>, at: number): Set<number> => {
    const reached = new Set<number>();
    const left = [...from];
    for (let place = left.pop(); place !== undefined; place = left.pop()) {
      if (reached.has(place)) continue;
      reached.add(place);
      const step = steps[place]!;
      if (step.kind === 'split') left.push(...step.to);
      else if (step.kind === 'place' && step.test(text, at)) left.push(place + 1);
    }
    return reached;
  };
  let places = reach([0], 0);
  for (let at = 0; at < text.length && places.size > 0; at++) {
    const next: number[] = [];
    for (const place of places) {
      const step = steps[place]!;
      if (step.kind === 'one' && step.test(text[at]!)) next.push(place + 1);
    }
    places = reach(next, at + 1);
  }
  return places.has(steps.length - 1);
}

class Parser {
  readonly #source: string;
  readonly #fail: (why: string) => never;
  #at = 0;
  #depth = 0;

  constructor(source: string, fail: (why: string) => never) {
    this.#source = source;
    this.#fail = fail;
  }

  parse(): Node {
    const tree = this.#choice();
    if (this.#at < this.#source.length) this.#fail('a parenthesis is not opened');
    return tree;
  }

  /** Whether the text goes on like this, which is then passed. */
  #take(text: string): boolean {
    if (!this.#source.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }

  #next(): string {
    const character = this.#source[this.#at++];
    return character ?? this.#fail('it breaks off');
  }

  #choice(): Node {
    const items = [this.#sequence()];
    while (this.#take('|')) items.push(this.#sequence());
    return items.length === 1 ? items[0]! : { kind: 'choice', items };
  }

  #sequence(): Node {
    const items: Node[] = [];
    while (this.#at < this.#source.length && !/[|)]/.test(this.#source[this.#at]!)) items.push(this.#repeated());
    return { kind: 'sequence', items };
  }

  #repeated(): Node {
    const item = this.#atom();
    const counts = this.#counts();
    if (!counts) return item;
    if (item.kind === 'place') this.#fail('an edge is repeated');
    // whether it takes few or many makes no difference to what a whole text is
    if (!this.#take('?') && this.#take('+')) this.#fail('possessive repetition is not read');
    if (/^[*+?]/.test(this.#source.slice(this.#at)) || this.#counts()) this.#fail('a repetition is repeated');
    return { kind: 'repeat', item, ...counts };
  }

  #counts(): { least: number; most: number } | null {
    const many = Number.POSITIVE_INFINITY;
    if (this.#take('*')) return { least: 0, most: many };
    if (this.#take('+')) return { least: 1, most: many };
    if (this.#take('?')) return { least: 0, most: 1 };
    // other braces are letters
    const braces = /^\{(\d*)(,?)(\d*)\}/.exec(this.#source.slice(this.#at));
    if (!braces || braces[0] === '{}') return null;
    this.#at += braces[0].length;
    const [, from, comma, to] = braces as unknown as [string, string, string, string];
    const least = Number(from);
    const most = comma === '' ? least : to === '' ? many : Number(to);
    if (most < least) this.#fail('a repetition ends before it begins');
    return { least, most };
  }

  #atom(): Node {
    const character = this.#next();
    switch (character) {
      case '(':
        return this.#group();
      case '[':
        return this.#set();
      case '.':
        return { kind: 'one', test: (c) => c !== '\n' };
      case '^':
        return { kind: 'place', test: (_, at) => at === 0 };
      case '$':
        return { kind: 'place', test: (text, at) => at === text.length };
      case '\\':
        return this.#escape();
      case '*':
      case '+':
      case '?':
        return this.#fail('nothing is repeated');
      default:
        return { kind: 'one', test: (c) => c === character };
    }
  }

  #group(): Node {
    const named = /^\?P<\w+>/.exec(this.#source.slice(this.#at));
    if (named) this.#at += named[0].length;
    else if (!this.#take('?:') && this.#take('?'))
      this.#fail('groups that begin with (? are not read, but (?: and (?P<');
    if (++this.#depth > MOST_DEPTH) this.#fail('it is nested too deep');
    const inside = this.#choice();
    if (!this.#take(')')) this.#fail('a parenthesis is not closed');
    this.#depth--;
    return inside;
  }

  #escape(): Node {
    const character = this.#next();
    if (character === 'b') return { kind: 'place', test: atEdge };
    if (character === 'B') return { kind: 'place', test: (text, at) => !atEdge(text, at) };
    if (character === 'A') return { kind: 'place', test: (_, at) => at === 0 };
    if (character === 'Z') return { kind: 'place', test: (text, at) => at === text.length };
    return { kind: 'one', test: this.#class(character) };
  }

  /** What a letter behind a backslash stands for. */
  #class(character: string): (character: string) => boolean {
    const known = CLASSES.get(character);
    if (known) return (c) => known.test(c);
    if (/[0-9A-Za-z]/.test(character)) this.#fail(`\\${character} is not read`);
    return (c) => c === character;
  }

  #set(): Node {
    const negated = this.#take('^');
    const tests: ((character: string) => boolean)[] = [];
    for (let first = true; first || this.#source[this.#at] !== ']'; first = false) {
      const from = this.#next();
      const escaped = from === '\\' ? this.#next() : null;
      if (escaped !== null && CLASSES.has(escaped)) {
        tests.push(this.#class(escaped));
        continue;
      }
      if (escaped !== null) this.#class(escaped); // refuses what is none
      const begin = escaped ?? from;
      if (this.#source[this.#at] !== '-' || this.#source[this.#at + 1] === ']') {
        tests.push((c) => c === begin);
        continue;
      }
      this.#at++;
      const end = this.#next();
      if (end === '\\' || end < begin) this.#fail('a range of letters is none');
      tests.push((c) => c >= begin && c <= end);
    }
    this.#at++;
    return { kind: 'one', test: (c) => tests.some((test) => test(c)) !== negated };
  }
}
