import { type DataFolder, dataFolder } from '../../datasets/folder.ts';
import { EspalierError } from '../../errors.ts';
import { checked, filled } from '../../options/check.ts';
import { defaulting, listOf, type Schema, truth, words } from '../../options/rules.ts';
import { shown } from '../../options/shown.ts';
import { UTILITY_SETS } from './tofu.ts';
import { readTofuSet, type TofuSet } from './tofu-data.ts';

/** What of a folder is wanted. */
export interface TofuChoice {
  /** What was to be forgotten, such as `forget10`. */
  readonly split?: string;
  /** Files, without their ending. Default: that of the split with wrong answers, and those of the three sets of utility that are there. */
  readonly sets?: readonly string[];
  /** Whether forget quality is wanted: then the split's file must have wrong answers. */
  readonly compared?: boolean;
}

const tofuChoice = {
  split: words,
  sets: listOf(words),
  compared: defaulting(truth, false),
} as const satisfies Schema<TofuChoice>;

export interface TofuData {
  readonly sets: readonly TofuSet[];
  /** That of the split; null where none was given. */
  readonly forgotten: TofuSet | null;
  /** What cannot be measured, and why, a sentence each. */
  readonly notes: readonly string[];
}

/**
 * Reads sets of a folder of TOFU, files as they are published: `forget10_perturbed.json`, `retain_perturbed.json` and so on, or `.jsonl`.
 * @throws E_FILE_NOT_FOUND, E_FILE_READ; E_DATA_INVALID; E_ARGUMENT where nothing is chosen, and for names that are no names of files
 */
export async function readTofuFolder(path: string | URL, choice: TofuChoice): Promise<TofuData> {
  const given = filled(tofuChoice, checked<TofuChoice>(tofuChoice, choice, 'readTofuFolder()'));
  const { split, compared } = given;
  if (split === undefined && given.sets === undefined) {
    throw new EspalierError('E_ARGUMENT', 'No split is named, and no set.', 'Give `split: forget10`.');
  }
  for (const name of [split ?? [], given.sets ?? []].flat()) checkName(name);
  const folder = await dataFolder(path);
  const notes: string[] = [];
  const forgotten = split === undefined ? null : splitIn(folder, split, compared, notes);
  const others = given.sets ?? UTILITY_SETS.filter((name) => has(folder, name, notes));
  const names = [...new Set([...(forgotten === null ? [] : [forgotten]), ...others])];
  const sets = await Promise.all(
    names.map((name) => {
      const file = folder.find(name);
      if (file !== undefined) return readTofuSet(name, file);
      throw missing(folder, name, `It has ${listed(setsOf(folder))}.`);
    }),
  );
  return { sets, forgotten: sets.find(({ name }) => name === forgotten) ?? null, notes };
}

/** The name of the file of a split, with wrong answers where there is one. */
function splitIn(folder: DataFolder, split: string, compared: boolean, notes: string[]): string {
  const name = `${split.replace(/_perturbed$/, '')}_perturbed`;
  if (folder.find(name) !== undefined) return name;
  if (compared || folder.find(split) === undefined) {
    const splits = setsOf(folder).filter((one) => /^forget.*_perturbed$/.test(one));
    const there = listed(splits.map((one) => one.replace('_perturbed', '')));
    throw missing(folder, name, `Forget quality needs wrong answers. Splits that have them there: ${there}.`);
  }
  notes.push(`${folder.path} holds no ${name}.json: ${split} has no truth ratio and no forget quality.`);
  return split;
}

function has(folder: DataFolder, name: string, notes: string[]): boolean {
  if (folder.find(name) !== undefined) return true;
  notes.push(`${folder.path} holds no ${name}.json: there is no utility.`);
  return false;
}

const setsOf = ({ names }: DataFolder): string[] =>
  names.flatMap((name) => (/^[^/]+\.jsonl?$/.test(name) ? name.replace(/\.jsonl?$/, '') : []));

const listed = (names: readonly string[]): string => (names.length === 0 ? 'none' : names.slice(0, 20).join(', '));

function missing({ path }: DataFolder, name: string, hint: string): EspalierError {
  return new EspalierError('E_FILE_NOT_FOUND', `${path} holds no ${name}.json.`, hint);
}

function checkName(name: string): void {
  if (/^[\w.-]+$/.test(name) && !/\.jsonl?$/.test(name)) return;
  throw new EspalierError('E_ARGUMENT', `${shown(name)} is no name of a set.`, 'Give that of a file, without .json.');
}
