import type { LocalModel } from '../../src/model/model.ts';
import { CODES, LANGUAGES } from './languages.ts';
import { natsPerToken } from './nats.ts';
import type { People } from './people.ts';
import { numbersOf, type Pair, QUESTION_KINDS, questionAbout, type Tenth } from './people-questions.ts';
import { HELD_OUT, KIND_NAMES, kindAndTextAt } from './texts.ts';

/** Answers that are right, of those that were asked for. */
export interface Share {
  readonly right: number;
  readonly asked: number;
}

/** Texts that are looked through at most for those of the rarest kind or language. */
const MOST_TEXTS = 1_000_000;

/** The loss on held-out texts of each kind, in nats a token. */
export async function lossByKind(
  model: LocalModel,
  { seed, people, texts }: { readonly seed: number; readonly people: People; readonly texts: number },
): Promise<[kind: string, loss: number][]> {
  const byKind = new Map<string, string[]>(KIND_NAMES.map((kind) => [kind, []]));
  let missing = texts * byKind.size;
  for (let i = 0; missing > 0 && i < MOST_TEXTS; i++) {
    const { kind, text } = kindAndTextAt(seed, HELD_OUT + i, { people, stories: [] });
    const own = byKind.get(kind)!;
    if (own.length >= texts) continue;
    own.push(text);
    missing--;
  }
  const losses: [string, number][] = [];
  for (const [kind, own] of byKind) if (own.length > 0) losses.push([kind, await natsPerToken(model, own)]);
  return losses;
}

/** Held-out translations that a model makes to the letter, greedily, by the name of the language that they are into. */
export async function translationShares(
  model: LocalModel,
  seed: number,
  each: number,
): Promise<[language: string, share: Share][]> {
  const byLanguage = translationPairs(seed, each);
  const shares: [string, Share][] = [];
  for (const [language, pairs] of byLanguage) shares.push([language, await shareOf(model, pairs)]);
  return shares;
}

/** `English: one day\nGerman:` and ` ein Tag`, none twice, so many into each language. */
export function translationPairs(seed: number, each: number): Map<string, Pair[]> {
  const byLanguage = new Map<string, Pair[]>(CODES.map((code) => [LANGUAGES[code], []]));
  const seen = new Set<string>();
  let missing = each * byLanguage.size;
  for (let i = 0; missing > 0 && i < MOST_TEXTS; i++) {
    const { kind, text } = kindAndTextAt(seed, HELD_OUT + i);
    if (kind !== 'translations') continue;
    const lines = text.split('\n');
    for (let j = 0; j + 1 < lines.length; j += 2) {
      const colon = lines[j + 1]!.indexOf(':');
      const language = lines[j + 1]!.slice(0, colon);
      const pair = { prompt: `${lines[j]!}\n${language}:`, answer: lines[j + 1]!.slice(colon + 1) };
      const own = byLanguage.get(language)!;
      if (own.length >= each || seen.has(pair.prompt)) continue;
      seen.add(pair.prompt);
      own.push(pair);
      missing--;
    }
  }
  return byLanguage;
}

/** Questions about people of a group, spread evenly over them and over the kinds of questions, that a model answers to the letter. */
export async function shareOfPeople(
  model: LocalModel,
  seed: number,
  people: People,
  tenth: Tenth,
  most: number,
): Promise<Share> {
  const numbers = numbersOf(people, tenth);
  const count = Math.min(most, numbers.length * QUESTION_KINDS);
  const pairs = Array.from({ length: count }, (_, i) =>
    questionAbout(seed, numbers[Math.floor((i * numbers.length) / count)]!, i % QUESTION_KINDS),
  );
  return shareOf(model, pairs);
}

async function shareOf(model: LocalModel, pairs: readonly Pair[]): Promise<Share> {
  if (pairs.length === 0) return { right: 0, asked: 0 };
  const prompts = pairs.map(({ prompt }) => prompt);
  const texts = await model.generateBatch(prompts, { maxTokens: 96, stop: ['\n'], batch: 32 }).texts();
  const right = texts.filter((text, i) => text.trim() === pairs[i]!.answer.trim()).length;
  return { right, asked: pairs.length };
}
