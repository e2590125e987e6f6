/** Functions that every chat template has. */
import type { Budget } from './budget.ts';
import { indexOf } from './numbers.ts';
import { iterate, listOf } from './operators.ts';
import { toText } from './repr.ts';
import { signature } from './signature.ts';
import { textArgument } from './str-methods.ts';
import { formatTime } from './strftime.ts';
import { Str } from './text.ts';
import { type Arguments, Dict, LONGEST_RANGE, Namespace, Native, Range, raise, Thing, type Value } from './values.ts';

/** What a template says of a conversation by `raise_exception`. */
export class Objection extends Error {
  override readonly name = 'Objection';
}

function range(args: Arguments): Range {
  if (args.named.size > 0) raise('TypeError', 'range() takes no keyword arguments');
  const [first, second, third] = args.positional.map(indexOf);
  if (first === undefined || args.positional.length > 3) raise('TypeError', 'range expected 1 to 3 arguments');
  const [start, stop, step] = second === undefined ? [0, first, 1] : [first, second, third ?? 1];
  if (step === 0) raise('ValueError', 'range() arg 3 must not be zero');
  const made = new Range(start, stop, step);
  if (made.length > LONGEST_RANGE) {
    raise('OverflowError', `Range too big. The sandbox blocks ranges larger than ${LONGEST_RANGE}.`);
  }
  return made;
}

/** `dict(mapping or pairs, **names)` */
function makeDict(work: Budget, { positional, named }: Arguments): Dict {
  if (positional.length > 1) raise('TypeError', `dict expected at most 1 argument, got ${positional.length}`);
  const dict = new Dict();
  const [source] = positional;
  if (source instanceof Dict) {
    work.elements(source.entries.size);
    for (const [key, value] of source.entries.values()) dict.set(work, key, value);
  } else if (source !== undefined) {
    const iterator = iterate(work, source);
    for (let next = iterator.next(); !next.done; next = iterator.next()) {
      work.step();
      const pair = listOf(work, next.value);
      if (pair.length !== 2) raise('ValueError', 'a pair is needed for each element of a dict');
      dict.set(work, pair[0]!, pair[1]!);
    }
  }
  for (const [name, value] of named) dict.set(work, new Str(name), value);
  return dict;
}

class DictMaker extends Thing {
  readonly typeName = 'TemplateDict';

  override call(work: Budget, args: Arguments): Value {
    return makeDict(work, args);
  }

  override attribute(name: string): Value | undefined {
    if (name !== 'fromkeys') return undefined;
    const bind = signature(name, 'iterable, value=None, /');
    return new Native(name, (work, args) => {
      const [keys, value] = bind(args);
      return Dict.of(
        work,
        listOf(work, keys!).map((key) => [key, value!]),
      );
    });
  }
}

class Cycler extends Thing {
  readonly typeName = 'Cycler';
  readonly #items: readonly Value[];
  #place = 0;

  constructor(items: readonly Value[]) {
    super();
    this.#items = items;
  }

  override attribute(name: string): Value | undefined {
    const current = this.#items[this.#place]!;
    const nothing = signature(name, '');
    switch (name) {
      case 'current':
        return current;
      case 'next':
        return new Native(name, (_, args) => {
          nothing(args);
          const value = this.#items[this.#place]!;
          this.#place = (this.#place + 1) % this.#items.length;
          return value;
        });
      case 'reset':
        return new Native(name, (_, args) => {
          nothing(args);
          this.#place = 0;
          return null;
        });
      case 'items':
      case 'pos':
        return raise('Unsupported', `cycler.${name} is not computed`);
      default:
        return undefined;
    }
  }
}

class Joiner extends Thing {
  readonly typeName = 'Joiner';
  readonly #separator: Value;
  #used = false;

  constructor(separator: Value) {
    super();
    this.#separator = separator;
  }

  override call(_: Budget, args: Arguments): Value {
    signature('joiner', '')(args);
    if (this.#used) return this.#separator;
    this.#used = true;
    return new Str('');
  }

  override attribute(name: string): Value | undefined {
    return name === 'sep' ? this.#separator : name === 'used' ? this.#used : undefined;
  }
}

/** @param now the moment that `strftime_now` tells */
export function globals(now: Date): Map<string, Value> {
  const bind = {
    raise: signature('raise_exception', 'message'),
    time: signature('strftime_now', 'format'),
    joiner: signature('joiner', "sep=''"),
  };
  const functions: readonly Native[] = [
    new Native('range', (_, args) => range(args)),
    new Native('namespace', (work, args) => new Namespace(makeDict(work, args))),
    new Native('cycler', (_, { positional, named }) => {
      if (named.size > 0) raise('TypeError', 'cycler() takes no keyword arguments');
      if (positional.length === 0) raise('TypeError', 'at least one item has to be provided');
      return new Cycler(positional);
    }),
    new Native('joiner', (_, args) => new Joiner(bind.joiner(args)[0]!)),
    new Native('lipsum', () => raise('Unsupported', 'lipsum() is random')),
    new Native('raise_exception', (work, args) => {
      throw new Objection(toText(work, bind.raise(args)[0]!).text);
    }),
    new Native('strftime_now', (work, args) => {
      const format = textArgument(bind.time(args)[0]!);
      work.step(32 * format.text.length); // two characters may stand for a whole date, and take microseconds
      return format.changed(formatTime(now, format.text));
    }),
  ];
  const all = new Map<string, Value>(functions.map((native) => [native.name, native]));
  return all.set('dict', new DictMaker());
}
