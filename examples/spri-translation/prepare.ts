/**
 * Parallel text as the example wants it, from data sets as they are published: NTREX-128 (one file a language, line by line the same sentence),
 * Tatoeba as LASER has it (two files a language pair), TICO-19 (one table) and Multi30k (one file a language, line by line the same sentence).
 * Writes `train.tsv` and `held-out.tsv` with the columns source, target and language.
 *
 * Split as in the experiment that the example repeats: of NTREX the first 1,797 sentences train, and the last 200 are never trained on, of
 * which the first 100 are held out; of Tatoeba and TICO-19 every tenth sentence is never trained on, and the first 100 of Tatoeba's are held out;
 * of Multi30k the first 5,000 train.
 * Where time is short, looks at fewer sentences leave more of it for training: `--held-out`, of each language and data set.
 *
 * usage: node --import tsx examples/spri-translation/prepare.ts --out DIR [--ntrex DIR] [--tatoeba DIR] [--tico FILE] [--multi30k DIR]
 *   [--languages de,fr,…] [--held-out 100]
 */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { gunzipSync } from 'node:zlib';

interface Language {
  readonly name: string;
  /** In names of NTREX's files. */
  readonly ntrex: string;
  readonly tatoeba: string;
  /** TICO-19's column, where there is one. */
  readonly tico: string | null;
}

const LANGUAGES: Readonly<Record<string, Language>> = {
  ar: { name: 'Arabic', ntrex: 'arb', tatoeba: 'ara', tico: 'ar' },
  cs: { name: 'Czech', ntrex: 'ces', tatoeba: 'ces', tico: null },
  cy: { name: 'Welsh', ntrex: 'cym', tatoeba: 'cym', tico: null },
  de: { name: 'German', ntrex: 'deu', tatoeba: 'deu', tico: null },
  es: { name: 'Spanish', ntrex: 'spa', tatoeba: 'spa', tico: 'es-LA' },
  fi: { name: 'Finnish', ntrex: 'fin', tatoeba: 'fin', tico: null },
  fr: { name: 'French', ntrex: 'fra', tatoeba: 'fra', tico: 'fr' },
  id: { name: 'Indonesian', ntrex: 'ind', tatoeba: 'ind', tico: 'id' },
  it: { name: 'Italian', ntrex: 'ita', tatoeba: 'ita', tico: null },
  ja: { name: 'Japanese', ntrex: 'jpn', tatoeba: 'jpn', tico: null },
  nl: { name: 'Dutch', ntrex: 'nld', tatoeba: 'nld', tico: null },
  pt: { name: 'Portuguese', ntrex: 'por', tatoeba: 'por', tico: 'pt-BR' },
  sv: { name: 'Swedish', ntrex: 'swe', tatoeba: 'swe', tico: null },
  tr: { name: 'Turkish', ntrex: 'tur', tatoeba: 'tur', tico: null },
  zh: { name: 'Chinese', ntrex: 'zho-CN', tatoeba: 'cmn', tico: 'zh' },
};

interface Pair {
  readonly source: string;
  readonly target: string;
  readonly language: string;
}

const NTREX_TRAINED = 1797;
const MULTI30K_TRAINED = 5000;

const train: Pair[] = [];
const heldOut: Pair[] = [];

/** One to one, in their order; what is empty on a side is no pair. */
function pairs(sources: readonly string[], targets: readonly string[], language: string): Pair[] {
  if (sources.length !== targets.length) {
    throw new Error(`${language}: ${sources.length} sentences, and ${targets.length} translations.`);
  }
  return sources.map((source, i) => ({ source: clean(source), target: clean(targets[i]!), language }));
}

/** A cell of a table holds no tab and no end of line. */
const clean = (text: string): string => text.replace(/\s+/gu, ' ').trim();
const isPair = ({ source, target }: Pair): boolean => source !== '' && target !== '';

async function lines(path: string): Promise<string[]> {
  const bytes = await readFile(path);
  const text = (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8').replace(/^\uFEFF/u, '');
  return text.replace(/\n$/u, '').split('\n');
}

async function ntrex(folder: string, { name, ntrex: code }: Language, held: number): Promise<void> {
  const files = await readdir(folder);
  const find = (language: string): string => {
    const file = files.find((f) =>
      new RegExp(`^newstest2019[.-](?:ref\\.|src\\.)?${language}\\.txt(?:\\.gz)?$`, 'u').test(f),
    );
    if (file === undefined) throw new Error(`${folder} has no newstest2019 of ${language}.`);
    return join(folder, file);
  };
  const all = pairs(await lines(find('eng-US')), await lines(find(code)), name);
  train.push(...all.slice(0, NTREX_TRAINED));
  heldOut.push(...all.slice(NTREX_TRAINED).filter(isPair).slice(0, held));
}

/** Every tenth is kept from training, and the first of these are held out. */
function split(all: readonly Pair[], held: number): void {
  const kept = all.filter((_, i) => i % 10 === 9);
  train.push(...all.filter((_, i) => i % 10 !== 9));
  heldOut.push(...kept.filter(isPair).slice(0, held));
}

async function tatoeba(folder: string, { name, tatoeba: code }: Language, held: number): Promise<void> {
  const file = (side: string): string => join(folder, `tatoeba.${code}-eng.${side}`);
  split(pairs(await lines(file('eng')), await lines(file(code)), name), held);
}

async function tico(file: string, languages: readonly Language[]): Promise<void> {
  const [head = [], ...rows] = (await lines(file)).map((line) => line.split('\t'));
  for (const { name, tico: column } of languages) {
    if (column === null) continue;
    const [from, to] = [head.indexOf('en'), head.indexOf(column)];
    if (from < 0 || to < 0) throw new Error(`${file} has no column en or ${column}.`);
    split(
      rows.map((row) => ({ source: clean(row[from] ?? ''), target: clean(row[to] ?? ''), language: name })),
      0,
    );
  }
}

/** Captions of pictures, in three languages beside English. */
async function multi30k(folder: string, languages: readonly Language[]): Promise<void> {
  const read = async (code: string) => (await lines(join(folder, `train.${code}.gz`))).slice(0, MULTI30K_TRAINED);
  const english = await read('en');
  for (const code of ['de', 'fr', 'cs']) {
    const language = languages.find((own) => own === LANGUAGES[code]);
    if (language) train.push(...pairs(english, await read(code), language.name));
  }
}

async function save(path: string, list: readonly Pair[]): Promise<void> {
  const rows = list.filter(isPair).map(({ source, target, language }) => `${source}\t${target}\t${language}\n`);
  await writeFile(path, `source\ttarget\tlanguage\n${rows.join('')}`);
  console.log(`${path}: ${rows.length} pairs`);
}

const { values } = parseArgs({
  options: {
    out: { type: 'string' },
    ntrex: { type: 'string' },
    tatoeba: { type: 'string' },
    tico: { type: 'string' },
    multi30k: { type: 'string' },
    languages: { type: 'string', default: Object.keys(LANGUAGES).join(',') },
    'held-out': { type: 'string', default: '100' },
  },
});
if (!values.out || !(values.ntrex || values.tatoeba || values.tico || values.multi30k)) {
  console.error(
    'usage: prepare.ts --out DIR [--ntrex DIR] [--tatoeba DIR] [--tico FILE] [--multi30k DIR] [--languages de,fr,…] [--held-out N]',
  );
  process.exit(2);
}
const held = Number(values['held-out']);
if (!Number.isSafeInteger(held) || held < 1) throw new Error('--held-out takes an integer from 1 on.');
const languages = values.languages.split(',').map((code) => {
  const language = LANGUAGES[code];
  if (language === undefined) throw new Error(`There is no language ${code}: ${Object.keys(LANGUAGES).join(', ')}.`);
  return language;
});
for (const language of languages) {
  if (values.ntrex) await ntrex(values.ntrex, language, held);
  if (values.tatoeba) await tatoeba(values.tatoeba, language, held);
}
if (values.tico) await tico(values.tico, languages);
if (values.multi30k) await multi30k(values.multi30k, languages);
await mkdir(values.out, { recursive: true });
await save(join(values.out, 'train.tsv'), train);
await save(join(values.out, 'held-out.tsv'), heldOut);
