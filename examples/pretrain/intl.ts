import type { Draw } from './draw.ts';
import { CODES, CURRENCIES, LANGUAGES, type Language, REGIONS, SPANS, TONGUES, UNITS } from './languages.ts';

/** One thing said in any language: the runtime's own words for a date, a duration, a place. */
type Phrase = (language: Language) => string;

const DAY = 86_400_000;
/** From 1900 to 2099. */
const someDay = (draw: Draw): Date => new Date(Date.UTC(1900, 0, 1) + draw.int(0, 73_048) * DAY);

const made = new Map<string, unknown>();
/** Formatters cost much more to make than to use. */
function kept<T>(key: string, make: () => T): T {
  let formatter = made.get(key) as T | undefined;
  if (formatter === undefined) made.set(key, (formatter = make()));
  return formatter;
}

const dates = (language: Language, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat =>
  kept(
    `date ${language} ${JSON.stringify(options)}`,
    () => new Intl.DateTimeFormat(language, { ...options, timeZone: 'UTC' }),
  );
const numbers = (language: Language, options: Intl.NumberFormatOptions): Intl.NumberFormat =>
  kept(`number ${language} ${JSON.stringify(options)}`, () => new Intl.NumberFormat(language, options));
const lists = (language: Language, type: 'conjunction' | 'disjunction'): Intl.ListFormat =>
  kept(`list ${language} ${type}`, () => new Intl.ListFormat(language, { type }));

/** The name of a country, a language or a currency. */
export function nameOf(language: Language, type: 'region' | 'language' | 'currency', code: string): string {
  return kept(`names ${language} ${type}`, () => new Intl.DisplayNames(language, { type })).of(code) ?? code;
}

const unit = (language: Language, count: number, name: string): string =>
  numbers(language, { style: 'unit', unit: name, unitDisplay: 'long', maximumFractionDigits: 1 }).format(count);

/** Small ones often, since their plural forms differ. */
const someCount = (draw: Draw): number =>
  draw.weighted<() => number>([
    [5, () => draw.int(0, 12)],
    [3, () => draw.int(13, 120)],
    [1, () => draw.int(2, 99) * 100],
    [1, () => draw.int(1, 199) / 10],
  ])();

const PHRASES: readonly (readonly [number, (draw: Draw) => Phrase])[] = [
  [3, (draw) => dated(someDay(draw), { dateStyle: draw.pick(['full', 'long', 'medium'] as const) })],
  [1, (draw) => dated(someDay(draw), { weekday: 'long' })],
  [1, (draw) => dated(someDay(draw), { month: 'long' })],
  [1, (draw) => dated(new Date(draw.int(0, 287) * 300_000), { timeStyle: 'short' })],
  [4, (draw) => counted(someCount(draw), draw.pick(UNITS))],
  [2, duration],
  [3, (draw) => named('region', draw.pick(REGIONS))],
  [3, (draw) => named('language', draw.pick(TONGUES))],
  [2, (draw) => named('currency', draw.pick(CURRENCIES))],
  [2, (draw) => joined(draw, 'region', REGIONS)],
  [1, (draw) => joined(draw, 'language', TONGUES)],
  [2, money],
  [3, relative],
  [1, (draw) => amount(draw.int(1, 999_999_999))],
];

function dated(day: Date, options: Intl.DateTimeFormatOptions): Phrase {
  return (language) => dates(language, options).format(day);
}

function counted(count: number, name: string): Phrase {
  return (language) => unit(language, count, name);
}

/** Two or three units behind each other. */
function duration(draw: Draw): Phrase {
  const [first, second, third] = draw.pick([
    ['day', 'hour', 'minute'],
    ['hour', 'minute', 'second'],
    ['year', 'month', 'day'],
    ['week', 'day', 'hour'],
  ] as const);
  const parts = [
    [draw.int(1, 20), first],
    [draw.int(1, 11), second],
    [draw.int(1, 29), third],
  ] as const;
  const wanted = parts.slice(0, draw.int(2, 3));
  return (language) =>
    lists(language, 'conjunction').format(wanted.map(([count, name]) => unit(language, count, name)));
}

function named(type: 'region' | 'language' | 'currency', code: string): Phrase {
  return (language) => nameOf(language, type, code);
}

function joined(draw: Draw, type: 'region' | 'language', codes: readonly string[]): Phrase {
  const some = draw.some(codes, draw.int(2, 4));
  const kind = draw.pick(['conjunction', 'disjunction'] as const);
  return (language) => lists(language, kind).format(some.map((code) => nameOf(language, type, code)));
}

function money(draw: Draw): Phrase {
  const [count, currency] = [draw.int(1, 5000), draw.pick(CURRENCIES)];
  const currencyDisplay = draw.pick(['name', 'symbol'] as const);
  const options = { style: 'currency', currency, currencyDisplay, maximumFractionDigits: 0 } as const;
  return (language) => numbers(language, options).format(count);
}

function relative(draw: Draw): Phrase {
  const [count, span] = [draw.int(-12, 12), draw.pick(SPANS)];
  const numeric = draw.pick(['always', 'auto'] as const);
  return (language) =>
    kept(`relative ${language} ${numeric}`, () => new Intl.RelativeTimeFormat(language, { numeric })).format(
      count,
      span,
    );
}

function amount(count: number): Phrase {
  return (language) => numbers(language, { notation: 'compact', compactDisplay: 'long' }).format(count);
}

/** The same in two languages, as the prompts of translations are written. */
export function translation(draw: Draw): string {
  const [from, to] = draw.chance(0.7) ? ['en' as const, draw.pick(CODES.slice(1))] : draw.some(CODES, 2);
  const [a, b] = draw.chance(0.5) || from === 'en' ? [from!, to!] : [to!, from!];
  const phrase = draw.weighted(PHRASES)(draw);
  return `${LANGUAGES[a]}: ${phrase(a)}\n${LANGUAGES[b]}: ${phrase(b)}`;
}

/** The same in several languages. */
export function table(draw: Draw): string {
  const phrase = draw.weighted(PHRASES)(draw);
  return draw
    .some(CODES, draw.int(3, 6))
    .map((language) => `${LANGUAGES[language]}: ${phrase(language)}`)
    .join('\n');
}

/** Several things in one language. */
export function phrases(draw: Draw): string {
  const language = draw.pick(CODES);
  const some = Array.from({ length: draw.int(3, 7) }, () => draw.weighted(PHRASES)(draw)(language));
  return `${LANGUAGES[language]}: ${some.join('; ')}`;
}

const PLURALS: Readonly<Record<Intl.LDMLPluralRule, string>> = {
  zero: 'zero',
  one: 'one',
  two: 'two',
  few: 'few',
  many: 'many',
  other: 'other',
};

/** A question about names, plural forms or the calendar. */
export function question(draw: Draw): string {
  const language = draw.pick(CODES.slice(1));
  const ask = (text: string, answer: string) => `Question: ${text}\nAnswer: ${answer}`;
  return draw.weighted<() => string>([
    [3, () => about(draw, language, ask)],
    [
      1,
      () => {
        const [type, count] = [draw.pick(['cardinal', 'ordinal'] as const), draw.int(0, 130)];
        const rules = kept(`plural ${language} ${type}`, () => new Intl.PluralRules(language, { type }));
        const what = type === 'cardinal' ? 'plural' : 'ordinal';
        return ask(`Which ${what} form has ${count} in ${LANGUAGES[language]}?`, PLURALS[rules.select(count)]);
      },
    ],
    [
      2,
      () => {
        const day = someDay(draw);
        return ask(
          `Which weekday is ${dates('en', { dateStyle: 'long' }).format(day)}?`,
          dates('en', { weekday: 'long' }).format(day),
        );
      },
    ],
    [
      2,
      () => {
        const [day, more] = [someDay(draw), draw.int(1, 60)];
        const [before, after] = [day, new Date(day.getTime() + more * DAY)].map((one) =>
          dates('en', { dateStyle: 'long' }).format(one),
        );
        return ask(`Which day is ${unit('en', more, 'day')} after ${before}?`, after!);
      },
    ],
  ])();
}

function about(draw: Draw, language: Language, ask: (text: string, answer: string) => string): string {
  const type = draw.pick(['region', 'language', 'currency'] as const);
  const code = draw.pick({ region: REGIONS, language: TONGUES, currency: CURRENCIES }[type]);
  const what = { region: 'country', language: 'language', currency: 'currency' }[type];
  const [own, english, theirs] = [LANGUAGES[language], nameOf('en', type, code), nameOf(language, type, code)];
  if (draw.chance(0.3)) return ask(`Which ${what} is called ${theirs} in ${own}?`, english);
  if (type === 'currency' && draw.chance(0.3)) return ask(`Which currency has the code ${code}?`, english);
  return ask(`What is ${english} called in ${own}?`, theirs);
}
