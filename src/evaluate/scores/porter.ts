/**
 * The stemmer of Porter (1980) with the extensions of NLTK, which google's rouge_score stems with: irregular forms, `ies` and `ied` of words of
 * four letters, `y` behind consonants alone, `alli` before the rest of step 2. Digits are consonants.
 */

const IRREGULAR: ReadonlyMap<string, string> = new Map([
  ['skies', 'sky'],
  ['sky', 'sky'],
  ['dying', 'die'],
  ['lying', 'lie'],
  ['tying', 'tie'],
  ['news', 'news'],
  ['innings', 'inning'],
  ['inning', 'inning'],
  ['outings', 'outing'],
  ['outing', 'outing'],
  ['cannings', 'canning'],
  ['canning', 'canning'],
  ['howe', 'howe'],
  ['proceed', 'proceed'],
  ['exceed', 'exceed'],
  ['succeed', 'succeed'],
]);

/** What an ending becomes where the rest of the word allows it. Of several that fit the first is tried, and no other. */
type Rule = readonly [ending: string, replacement: string, allows?: (stem: string) => boolean];

/** The stem of a word of lower-case letters and digits. */
export function porterStem(word: string): string {
  const irregular = IRREGULAR.get(word);
  if (irregular !== undefined) return irregular;
  if (word.length <= 2) return word;
  const steps = [plural, past, finalY, doubleSuffix, suffix, lastSuffix, finalE, finalL];
  return steps.reduce((stem, step) => step(stem), word);
}

/** Whether each letter is a consonant: all but vowels, and y behind a consonant. */
function consonants(word: string): boolean[] {
  const flags: boolean[] = [];
  for (const [i, letter] of [...word].entries()) {
    flags.push(letter === 'y' ? i === 0 || !flags[i - 1] : !'aeiou'.includes(letter));
  }
  return flags;
}

/** Porter's m: how often a consonant follows a vowel. */
function measure(stem: string): number {
  const flags = consonants(stem);
  return flags.filter((flag, i) => flag && i > 0 && !flags[i - 1]).length;
}

const some = (stem: string): boolean => measure(stem) > 0;
const several = (stem: string): boolean => measure(stem) > 1;
const hasVowel = (stem: string): boolean => consonants(stem).includes(false);

/** *o: consonant, vowel, consonant but w, x and y; and here also a vowel and a consonant that are all. */
function endsShort(stem: string): boolean {
  const flags = consonants(stem);
  const { length } = stem;
  if (length === 2) return !flags[0] && flags[1]!;
  return (
    length > 2 && flags[length - 3]! && !flags[length - 2] && flags[length - 1]! && !'wxy'.includes(stem[length - 1]!)
  );
}

function apply(word: string, rules: readonly Rule[]): string {
  const rule = rules.find(([ending]) => word.endsWith(ending));
  if (rule === undefined) return word;
  const [ending, replacement, allows] = rule;
  const stem = word.slice(0, word.length - ending.length);
  return allows === undefined || allows(stem) ? stem + replacement : word;
}

/** Step 1a. */
function plural(word: string): string {
  if (word.endsWith('ies')) return word.slice(0, word.length === 4 ? -1 : -2);
  return apply(word, [
    ['sses', 'ss'],
    ['ss', 'ss'],
    ['s', ''],
  ]);
}

/** Step 1b. */
function past(word: string): string {
  if (word.endsWith('ied')) return word.slice(0, word.length === 4 ? -1 : -2);
  if (word.endsWith('eed')) return apply(word, [['eed', 'ee', some]]);
  const ending = ['ed', 'ing'].find((one) => word.endsWith(one) && hasVowel(word.slice(0, -one.length)));
  if (ending === undefined) return word;
  const stem = word.slice(0, -ending.length);
  if (/(?:at|bl|iz)$/.test(stem)) return `${stem}e`;
  const last = stem.at(-1)!;
  if (stem.length > 1 && stem.at(-2) === last && consonants(stem).at(-1)) {
    return 'lsz'.includes(last) ? stem : stem.slice(0, -1);
  }
  return measure(stem) === 1 && endsShort(stem) ? `${stem}e` : stem;
}

/** Step 1c. */
function finalY(word: string): string {
  return apply(word, [['y', 'i', (stem) => stem.length > 1 && consonants(stem).at(-1)!]]);
}

/** Step 2. */
function doubleSuffix(word: string): string {
  if (word.endsWith('alli') && some(word.slice(0, -4))) return doubleSuffix(word.slice(0, -2));
  return apply(word, [
    ['ational', 'ate', some],
    ['tional', 'tion', some],
    ['enci', 'ence', some],
    ['anci', 'ance', some],
    ['izer', 'ize', some],
    ['bli', 'ble', some],
    ['alli', 'al', some],
    ['entli', 'ent', some],
    ['eli', 'e', some],
    ['ousli', 'ous', some],
    ['ization', 'ize', some],
    ['ation', 'ate', some],
    ['ator', 'ate', some],
    ['alism', 'al', some],
    ['iveness', 'ive', some],
    ['fulness', 'ful', some],
    ['ousness', 'ous', some],
    ['aliti', 'al', some],
    ['iviti', 'ive', some],
    ['biliti', 'ble', some],
    ['fulli', 'ful', some],
    // the l counts to the stem: geologi is as archaeologi
    ['logi', 'log', (stem) => some(`${stem}l`)],
  ]);
}

/** Step 3. */
function suffix(word: string): string {
  return apply(word, [
    ['icate', 'ic', some],
    ['ative', '', some],
    ['alize', 'al', some],
    ['iciti', 'ic', some],
    ['ical', 'ic', some],
    ['ful', '', some],
    ['ness', '', some],
  ]);
}

const LAST = 'al ance ence er ic able ible ant ement ment ent ion ou ism ate iti ous ive ize'.split(' ');
const LAST_RULES: readonly Rule[] = LAST.map((ending) => [
  ending,
  '',
  ending === 'ion' ? (stem) => several(stem) && /[st]$/.test(stem) : several,
]);

/** Step 4. */
function lastSuffix(word: string): string {
  return apply(word, LAST_RULES);
}

/** Step 5a. */
function finalE(word: string): string {
  return apply(word, [['e', '', (stem) => several(stem) || (some(stem) && !endsShort(stem))]]);
}

/** Step 5b. */
function finalL(word: string): string {
  return apply(word, [['ll', 'l', (stem) => several(`${stem}l`)]]);
}
