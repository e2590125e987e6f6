/** `text.format(…)`, within Jinja2's sandbox. */
import type { Budget } from './budget.ts';
import { isAscii } from './characters.ts';
import { formatValue } from './format-spec.ts';
import { repr, toText } from './repr.ts';
import { Str, TextBuilder } from './text.ts';
import { type Arguments, raise, type Value } from './values.ts';

/** How a field reaches into a value; given, because a text's own attributes, `format` among them, are such values too. */
export interface Reach {
  attribute(work: Budget, value: Value, name: string): Value;
  item(work: Budget, value: Value, key: Value): Value;
}

interface State {
  readonly work: Budget;
  readonly args: Arguments;
  readonly reach: Reach;
  /** The next place of a field without one; null once a field has named its own. */
  automatic: number | null;
  manual: boolean;
}

/** @throws ValueError, LookupError as Python */
export function braceFormat(work: Budget, format: Str, args: Arguments, reach: Reach): Str {
  if (format.markup) raise('Unsupported', 'formatting a text that is marked as safe is not computed');
  return expand({ work, args, reach, automatic: 0, manual: false }, format, 2);
}

function expand(state: State, format: Str, depth: number): Str {
  if (depth < 0) raise('ValueError', 'Max string recursion exceeded');
  const { text } = format;
  state.work.text(text.length);
  const to = new TextBuilder(state.work);
  let place = 0;
  while (place < text.length) {
    const brace = nextBrace(text, place);
    to.push(format.cut(place, brace));
    if (brace === text.length) break;
    if (text[brace + 1] === text[brace]) {
      to.push(format.cut(brace, brace + 1));
      place = brace + 2;
      continue;
    }
    if (text[brace] === '}') raise('ValueError', "Single '}' encountered in format string");
    const end = fieldEnd(text, brace);
    to.push(field(state, format.cut(brace + 1, end), depth));
    place = end + 1;
  }
  return to.done();
}

function nextBrace(text: string, from: number): number {
  for (let i = from; i < text.length; i++) if (text[i] === '{' || text[i] === '}') return i;
  return text.length;
}

/** The brace that closes a field, which may hold fields itself. */
function fieldEnd(text: string, open: number): number {
  let level = 0;
  for (let i = open; i < text.length; i++) {
    if (text[i] === '{') level++;
    else if (text[i] === '}' && --level === 0) return i;
  }
  return raise(
    'ValueError',
    text.length === open + 1 ? "Single '{' encountered in format string" : "expected '}' before end of string",
  );
}

const FIELD = /^([^!:]*)(?:!(.*?))?(?::(.*))?$/su;

function field(state: State, source: Str, depth: number): Str {
  const match = FIELD.exec(source.text);
  // within brackets, Python takes !, : and braces for parts of a key
  if (match === null || (source.text.includes('[') && !/^[^!:{}]*(?:![rsa])?(?::[^[\]]*)?$/.test(source.text))) {
    raise('Unsupported', 'this field of a format is not computed');
  }
  const [, name, conversion, spec] = match;
  if (/[{}]/.test(name!)) raise('ValueError', "unexpected '{' in field name");
  let value = lookUp(state, name!);
  if (conversion !== undefined) value = convert(state.work, value, conversion);
  const inner = spec === undefined ? '' : expand(state, source.cut(source.text.length - spec.length), depth - 1).text;
  return formatValue(state.work, value, inner);
}

function convert(work: Budget, value: Value, conversion: string): Str {
  if (conversion === 's') return toText(work, value);
  const text = repr(work, value);
  if (conversion === 'r') return text;
  if (conversion !== 'a') raise('ValueError', `Unknown conversion specifier '${conversion}'`);
  if (!isAscii(text.text)) raise('Unsupported', '!a is not computed beyond ASCII');
  return text;
}

const STEP = /\.([^.[\]]+)|\[([^[\]]+)\]/gsu;

/** `0.name[key]` */
function lookUp(state: State, name: string): Value {
  const first = /^[^.[]*/.exec(name)![0];
  const steps = name.slice(first.length);
  let value = base(state, first, name === '' || /^\d+$/.test(name));
  let read = 0;
  for (const match of steps.matchAll(STEP)) {
    if (match.index !== read) break;
    read += match[0].length;
    const [, attribute, key] = match;
    if (attribute !== undefined) value = state.reach.attribute(state.work, value, attribute);
    else value = state.reach.item(state.work, value, /^\d+$/.test(key!) ? Number(key) : new Str(key!));
  }
  if (read !== steps.length) raise('ValueError', 'Empty attribute or malformed field in format string');
  return value;
}

/** @param whole whether the field is a number or nothing, and so takes part in the numbering of fields */
function base(state: State, name: string, whole: boolean): Value {
  if (/^\d+$/.test(name) && !whole) return found(state.args.positional[Number(name)], 'Replacement index out of range');
  if (whole) {
    if (name === '' ? state.manual : state.automatic !== 0 && state.automatic !== null) {
      raise('ValueError', 'cannot switch between manual and automatic field numbering');
    }
    if (name !== '') state.manual = true;
    const place = name === '' ? state.automatic!++ : Number(name);
    return found(state.args.positional[place], `Replacement index ${place} out of range for positional args tuple`);
  }
  return found(state.args.named.get(name), `KeyError: '${name}'`);
}

function found(value: Value | undefined, otherwise: string): Value {
  return value === undefined ? raise('LookupError', otherwise) : value;
}
