import { EspalierError } from '../../errors.ts';
import { nearest } from '../../options/suggest.ts';
import type { ArgumentSpecs, Command, Switch, ValueFlag } from './command.ts';
import { lowered } from './help.ts';

/** What is asked for with any command. */
export type Request = 'help' | 'version' | null;

export interface Parsed {
  readonly args: Readonly<Record<string, unknown>>;
  readonly request: Request;
}

/** `-p`, `--prompt`, `--prompt=…`: not a dash alone, a negative number, or a text that begins with a dash. */
const looksLikeFlag = (word: string): boolean => /^--?[A-Za-z][^\s=]*(?:=|$)/s.test(word) || word === '--';

/**
 * Reads the words behind a command's name: `--name VALUE`, `--name=VALUE`, `-n VALUE`, `-nVALUE`, switches, `--no-…`, and positionals, to
 * which all words behind `--` belong. A flag without its value, an unknown flag and a word too many are refused; values are checked here,
 * before anything is opened.
 *
 * @param path the words that name the command, for messages
 * @throws E_ARGUMENT
 */
export function parseArguments(path: string, specs: ArgumentSpecs, words: readonly string[]): Parsed {
  // whoever asks for help is not told what else is wrong
  const request = requestOf(words);
  if (request !== null) return { args: {}, request };
  const given = new Map<string, unknown[]>();
  const loose: string[] = [];
  /** The flag that may be given several times and whose value, or a word behind that, stands right before the word that comes. */
  let before: string | null = null;
  const behind: (string | null)[] = [];
  const hint = `Run ${path} --help to see what it takes.`;
  const add = (name: string, value: unknown) => void given.set(name, [...(given.get(name) ?? []), value]);

  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (word === '--') {
      loose.push(...words.slice(i + 1));
      break;
    }
    const [flag, inline] =
      word.length > 1 && word.startsWith('-') && !/^-[.\d]/.test(word) ? split(word, specs) : ['', undefined];
    if (flag === '') {
      loose.push(word);
      behind.push(before);
      continue;
    }
    before = null;
    const name = nameOf(flag, specs);
    if (name === null) {
      const negated = /^--no-(.+)$/.exec(flag)?.[1];
      const spec = negated === undefined ? undefined : specs[negated];
      if (spec?.type !== 'boolean' || spec.negative === undefined || inline !== undefined)
        throw unknownFlag(flag, specs, hint);
      add(negated!, false);
      continue;
    }
    const spec = specs[name] as ValueFlag | Switch;
    if (spec.type === 'boolean') {
      if (inline !== undefined)
        throw new EspalierError('E_ARGUMENT', `${flag} takes no value.`, `Write ${flag} alone.`);
      add(name, true);
      continue;
    }
    const value = inline ?? words[i + 1];
    if (inline === undefined) {
      if (value === undefined || looksLikeFlag(value)) throw noValue(flag, name, value, spec);
      i++;
    }
    add(name, spec.rule ? spec.rule.check(spec.rule.parse?.(value!) ?? value, `--${name}`) : value);
    if (spec.many) before = name;
  }
  const repeated = (at: number) => {
    const flagBefore = behind[at];
    return flagBefore ? `Write --${flagBefore} before each: --${flagBefore} ${loose[at]}.` : hint;
  };
  return { args: complete(specs, given, loose, { hint, repeated }), request };
}

/** Neither is ever the value of a flag, unless it stands behind `=`. */
function requestOf(words: readonly string[]): Request {
  const end = words.indexOf('--');
  const own = end < 0 ? words : words.slice(0, end);
  if (own.some((word) => word === '--help' || word === '-h')) return 'help';
  return own.some((word) => word === '--version' || word === '-v' || word === '-V') ? 'version' : null;
}

/** @throws E_ARGUMENT for what is missing, and for words that belong to nothing */
function complete(
  specs: ArgumentSpecs,
  given: ReadonlyMap<string, readonly unknown[]>,
  loose: readonly string[],
  { hint, repeated }: { readonly hint: string; readonly repeated: (at: number) => string },
): Record<string, unknown> {
  const args: Record<string, unknown> = {};
  const rest = [...loose];
  for (const [name, spec] of Object.entries(specs)) {
    if (spec.type === 'positional') {
      const word = rest.shift();
      if (word !== undefined && word !== '') args[name] = word;
      else if (spec.required) {
        throw new EspalierError('E_ARGUMENT', `There is no ${name.toUpperCase()}.`, hint);
      }
      continue;
    }
    const values = given.get(name);
    if (values !== undefined) args[name] = spec.type === 'string' && spec.many ? values : values.at(-1);
    else if (spec.default !== undefined) args[name] = spec.default;
    else if (spec.required || (spec.type === 'string' && spec.unless !== undefined && !given.has(spec.unless))) {
      const { value = 'VALUE', unless } = spec as ValueFlag;
      const other = unless === undefined ? '' : `, or --${unless}`;
      throw new EspalierError(
        'E_ARGUMENT',
        `There is no --${name}.`,
        `Give --${name} ${value}: ${lowered(spec.description)}${other}.`,
      );
    }
  }
  if (rest.length > 0) {
    const what = `${JSON.stringify(rest[0])} belongs to no option.`;
    throw new EspalierError('E_ARGUMENT', what, repeated(loose.length - rest.length));
  }
  return args;
}

/** The flag and the value that is in the same word. */
function split(word: string, specs: ArgumentSpecs): readonly [flag: string, inline: string | undefined] {
  if (word.startsWith('--')) {
    const at = word.indexOf('=');
    return at < 0 ? [word, undefined] : [word.slice(0, at), word.slice(at + 1)];
  }
  const flag = word.slice(0, 2);
  if (word.length === 2) return [flag, undefined];
  // -n5 and -n=5, but neither -prompt nor -prompt=…, whose author means --prompt
  const name = nameOf(flag, specs);
  const [long = ''] = word.split('=');
  const isLong = nameOf(`-${long}`, specs) !== null;
  if (name === null || isLong || specs[name]!.type === 'boolean') return [isLong ? long : word, undefined];
  return [flag, word.slice(word[2] === '=' ? 3 : 2)];
}

/** The name behind `--name` or `-n`. */
function nameOf(flag: string, specs: ArgumentSpecs): string | null {
  const long = flag.startsWith('--') ? flag.slice(2) : null;
  for (const [name, spec] of Object.entries(specs)) {
    if (spec.type !== 'positional' && (long === null ? flag === `-${spec.alias}` : name === long)) return name;
  }
  return null;
}

function unknownFlag(flag: string, specs: ArgumentSpecs, hint: string): EspalierError {
  const names = Object.entries(specs).flatMap(([name, spec]) =>
    spec.type === 'positional' ? [] : spec.type === 'boolean' && spec.negative ? [name, `no-${name}`] : [name],
  );
  const near = nearest(flag, [...names, 'help', 'version']);
  const cut = flag.length > 60 ? `${flag.slice(0, 59)}…` : flag;
  return new EspalierError(
    'E_ARGUMENT',
    `There is no option ${cut}${near === null ? '.' : `; did you mean --${near}?`}`,
    hint,
  );
}

function noValue(flag: string, name: string, next: string | undefined, spec: ValueFlag): EspalierError {
  const value = spec.value ?? 'VALUE';
  const hint =
    next === undefined || next === '--' ? `Write ${flag} ${value}.` : `Write --${name}=${next} if that is the value.`;
  return new EspalierError('E_ARGUMENT', `${flag} has no value.`, hint);
}

/** The command that the first words name, and the words behind. @throws E_ARGUMENT for one that is not there */
export async function commandOf(
  root: Command,
  words: readonly string[],
): Promise<{ readonly command: Command; readonly path: string; readonly rest: readonly string[] }> {
  let command = root;
  let path = root.meta.name;
  let rest = words;
  while (command.subCommands && rest.length > 0 && !rest[0]!.startsWith('-')) {
    const word = rest[0]!;
    const names = Object.keys(command.subCommands);
    if (!names.includes(word)) {
      const near = nearest(word, names);
      throw new EspalierError(
        'E_ARGUMENT',
        `There is no command ${JSON.stringify(word.slice(0, 60))}${near === null ? '.' : `; did you mean ${near}?`}`,
        `${path} has ${names.join(', ')}.`,
      );
    }
    const found = command.subCommands[word]!;
    command = typeof found === 'function' ? await found() : found;
    path = `${path} ${word}`;
    rest = rest.slice(1);
  }
  return { command, path, rest };
}
