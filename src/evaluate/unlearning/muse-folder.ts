import { type DataFolder, dataFolder } from '../../datasets/folder.ts';
import { type JsonRow, readJsonRows } from '../../datasets/json-rows.ts';
import type { DataSource } from '../../datasets/source.ts';
import { EspalierError } from '../../errors.ts';
import { checked } from '../../options/check.ts';
import { type Schema, words } from '../../options/rules.ts';
import { sha256 } from '../../runtime/files/hash.ts';
import type { Shot } from './asking.ts';

/** A text that goes on, and how it does in the data. */
export interface VerbMemRow {
  readonly prompt: string;
  readonly continuation: string;
  readonly place: string;
}

export interface KnowMemRow {
  readonly question: string;
  /** Right answers; the nearest counts. */
  readonly answers: readonly string[];
  readonly place: string;
}

export interface PlacedText {
  readonly text: string;
  readonly place: string;
}

export interface KnowMemData {
  readonly rows: readonly KnowMemRow[];
  /** Stand before each question. */
  readonly shots: readonly Shot[];
}

export interface PrivacyData {
  /** Texts that were to be forgotten, and texts that no model has seen. */
  readonly forget: readonly PlacedText[];
  readonly holdout: readonly PlacedText[];
  /** SHA-256 of both. */
  readonly sha256: string;
}

/** What of MUSE a folder holds; null what it does not. */
export interface MuseData {
  readonly verbMem: readonly VerbMemRow[] | null;
  readonly forget: KnowMemData | null;
  readonly retain: KnowMemData | null;
  readonly privacy: PrivacyData | null;
}

/** Which of several corpora. */
export interface MuseChoice {
  /** `news` for `news.forget_qa.json`, or for a folder `news`. */
  readonly corpus?: string;
}

const museChoice = { corpus: words } as const satisfies Schema<MuseChoice>;

/** Names of files without their ending; one in a folder, as in the repository of MUSE, or with the name of a corpus and a dot before it. */
const FILES = {
  verbMem: ['verbmem', 'verbmem/forget', 'verbmem_forget'],
  forget: ['forget_qa', 'knowmem/forget_qa', 'knowmem_forget_qa'],
  forgetShots: ['forget_qa_icl', 'knowmem/forget_qa_icl', 'knowmem_forget_qa_icl'],
  retain: ['retain_qa', 'knowmem/retain_qa', 'knowmem_retain_qa'],
  retainShots: ['retain_qa_icl', 'knowmem/retain_qa_icl', 'knowmem_retain_qa_icl'],
  privacyForget: ['privleak_forget', 'privleak/forget'],
  privacyHoldout: ['privleak_holdout', 'privleak/holdout'],
} as const satisfies Record<string, readonly string[]>;

/**
 * Reads the parts of MUSE that a folder holds, as lines of JSON or lists: `verbmem` (`prompt`, `gt`), `forget_qa` and `retain_qa` (`question`, `answer`) with
 * their examples in `…_qa_icl`, `privleak_forget` and `privleak_holdout` (texts, or objects with `text`).
 * @throws E_FILE_NOT_FOUND for no folder, and for one with none of the files; E_FILE_READ; E_DATA_INVALID; E_ARGUMENT where it has several corpora and none
 *   is named
 */
export async function readMuseFolder(path: string | URL, choice: MuseChoice = {}): Promise<MuseData> {
  const { corpus } = checked<MuseChoice>(museChoice, choice, 'readMuseFolder()');
  const find = finderOf(await dataFolder(path), corpus) ?? finderOf(await dataFolder(`${path}/${corpus}`), undefined)!;
  const files = Object.fromEntries(Object.entries(FILES).map(([part, names]) => [part, find(names)])) as Record<
    keyof typeof FILES,
    string | undefined
  >;
  const { privacyForget, privacyHoldout } = files;
  if ((privacyForget === undefined) !== (privacyHoldout === undefined)) {
    const name = privacyForget === undefined ? FILES.privacyForget[0] : FILES.privacyHoldout[0];
    throw new EspalierError('E_FILE_NOT_FOUND', `${path} holds no ${name}.json.`, 'PrivLeak compares two files.');
  }
  return {
    verbMem: files.verbMem === undefined ? null : (await readJsonRows(files.verbMem)).map(verbMemRow),
    forget: await knowMem(files.forget, files.forgetShots),
    retain: await knowMem(files.retain, files.retainShots),
    privacy:
      privacyForget === undefined || privacyHoldout === undefined
        ? null
        : await readPrivacy(privacyForget, privacyHoldout),
  };
}

type Finder = (names: readonly string[]) => string | undefined;

/** Undefined where the corpus may be a folder. @throws E_FILE_NOT_FOUND, E_ARGUMENT */
function finderOf({ path, names, find }: DataFolder, corpus: string | undefined): Finder | undefined {
  const known = new Set(Object.values(FILES).flat() as string[]);
  const parts = names.flatMap((name) => {
    const [, prefix = '', rest = ''] = /^(?:([^/]+)\.)?([^.]+)\.jsonl?$/.exec(name) ?? [];
    return known.has(rest) ? [prefix] : [];
  });
  const corpora = [...new Set(parts)];
  if (corpus !== undefined) {
    if (corpora.includes(corpus)) return (wanted) => find(...wanted.map((name) => `${corpus}.${name}`));
    if (names.some((name) => name.startsWith(`${corpus}/`))) return undefined;
    const hint =
      corpora.length > 0 ? `It has ${corpora.map((one) => one || 'files without a corpus').join(', ')}.` : '';
    throw new EspalierError('E_FILE_NOT_FOUND', `${path} holds no corpus ${corpus}.`, hint || HINT);
  }
  if (corpora.length === 0) throw new EspalierError('E_FILE_NOT_FOUND', `${path} holds no file of MUSE.`, HINT);
  if (corpora.length > 1) {
    const named = corpora.map((one) => one || 'one without a name').join(', ');
    throw new EspalierError('E_ARGUMENT', `${path} holds several corpora: ${named}.`, 'Name one: `corpus: news`.');
  }
  return (wanted) => find(...wanted.map((name) => (corpora[0] === '' ? name : `${corpora[0]}.${name}`)));
}

const HINT = 'It has forget_qa.json, retain_qa.json, verbmem.json, or privleak_forget.json and privleak_holdout.json.';

const verbMemRow = (row: JsonRow): VerbMemRow => ({
  prompt: row.text('prompt'),
  continuation: row.text('gt'),
  place: row.place,
});

async function knowMem(file: DataSource | undefined, shots: DataSource | undefined): Promise<KnowMemData | null> {
  if (file === undefined) return null;
  const rows = (await readJsonRows(file)).map((row) => {
    const answers = row.texts('answer');
    if (answers === undefined) throw row.invalid('there is no answer', 'Every row has it.');
    return { question: row.text('question'), answers, place: row.place };
  });
  const examples = shots === undefined ? [] : await readJsonRows(shots);
  return { rows, shots: examples.map((row) => ({ question: row.text('question'), answer: row.text('answer') })) };
}

async function readPrivacy(forget: DataSource, holdout: DataSource): Promise<PrivacyData> {
  const [own, other] = await Promise.all([forget, holdout].map(readTexts));
  const content = [own, other].map((list) => list!.map(({ text }) => text));
  return { forget: own!, holdout: other!, sha256: await sha256(JSON.stringify(content)) };
}

async function readTexts(source: DataSource): Promise<PlacedText[]> {
  const rows = await readJsonRows(source);
  return rows.map((row) => ({ text: row.hasColumns ? row.text('text') : row.ownText(), place: row.place }));
}
