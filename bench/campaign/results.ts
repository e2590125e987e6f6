/** The results of runs: a file of JSON lines, one a run, which may be cut off anywhere. */
import { appendFile, readFile } from 'node:fs/promises';
import { bestLook } from './choice.ts';
import { idOf, type RivalName, type Run, sweepOf } from './runs.ts';

/** What a rival came to at a look. */
export interface Look {
  readonly epoch: number;
  /** log10 of forget quality, which may be below what a double holds. */
  readonly log10: number;
  readonly forget: number;
  readonly retain: number;
}

/** What a model is by all measures. */
export interface Figures {
  /** Forget quality: p, its log10, and the distance D of both distributions. */
  readonly p: number;
  readonly log10: number;
  readonly D: number;
  /** Probability of answers to be forgotten and to be kept, and truth ratio's score of the former. */
  readonly forget: number;
  readonly truthRatio: number;
  readonly retain: number;
  /** With ROUGE-L, and of probability and truth ratio alone. */
  readonly utility: number | null;
  readonly plainUtility: number | null;
  readonly rouge: { readonly forget: number; readonly retain: number };
  /** Of what was written behind both. */
  readonly perplexity: number | null;
  readonly repetition: number | null;
  readonly distinct2: number | null;
}

/** Steps until half is back; null: not within `most`. */
export interface Relearning {
  readonly trained: number | null;
  readonly held: number | null;
  readonly most: number;
}

/** A part of what was forgotten, in a state of the requests. */
export interface PartFigures {
  readonly probability: number;
  readonly truthRatio: number;
}

/** A reference that we trained beside one that is given: forget quality of one by the other, and the score of ours. */
export interface Likeness {
  readonly p: number;
  readonly D: number;
  readonly truthRatio: number;
}

export interface Found {
  readonly reference: {
    readonly rounds: number;
    /** That it came from; of rounds that begin anew those of the last. */
    readonly steps: number;
    readonly probability: number;
    readonly beside?: Likeness;
  };
  readonly before: {
    readonly model: Figures;
    readonly reference: Figures;
    readonly control: Relearning;
    /** Truth ratios of the reference, by question. */
    readonly ratios: readonly number[];
  };
  readonly sweep: { readonly looks: readonly Look[]; readonly before: number; readonly seconds: number };
  readonly unlearn: {
    readonly rate: number | null;
    readonly looks: readonly Look[];
    readonly left: { readonly epoch: number; readonly strength: number | null };
    readonly figures: Figures;
    /** Truth ratios by question, to five digits, so that p by another reference need not be measured anew. */
    readonly ratios?: readonly number[];
    readonly relearning: Relearning;
    readonly trained: number;
    /** Of training, with what a choice of its own looks at, and without our measures. */
    readonly seconds: number;
  };
  readonly looks: {
    readonly candidates: readonly (Look & {
      readonly look: number;
      readonly strength: number;
      readonly distance: number;
    })[];
    readonly chosen: { readonly look: number; readonly strength: number };
  };
  readonly sequence: {
    /** By state, such as `01+05`, of each part what is left. */
    readonly states: Readonly<Record<string, Readonly<Record<string, PartFigures>>>>;
    readonly retain: Readonly<Record<string, number>>;
    /** Whether taking the last request back gave the files before it, of each length. */
    readonly exact: readonly boolean[];
    readonly seconds: readonly number[];
  };
  readonly smollm2: {
    readonly learned: { readonly steps: number; readonly probability: number; readonly seconds: number };
    readonly before: { readonly forget: number; readonly retain: number };
    readonly after: { readonly forget: number; readonly retain: number };
    readonly epoch: number;
    readonly parameters: number;
    readonly seconds: number;
  };
}

export interface Result<K extends Run['kind'] = Run['kind']> {
  readonly id: string;
  readonly run: Extract<Run, { kind: K }>;
  /** Of the whole process. */
  readonly wall: number;
  readonly found?: Found[K];
  /** What it failed with. */
  readonly error?: string;
}

/** By id, the last of each; what was cut off is left out. */
export type Results = ReadonlyMap<string, Result>;

export async function readResults(path: string): Promise<Results> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  const list = text.split('\n').flatMap((line): Result[] => {
    try {
      return line === '' ? [] : [JSON.parse(line) as Result];
    } catch {
      return [];
    }
  });
  return new Map(list.map((result) => [result.id, result]));
}

/** Adds a line; behind one that was cut off it begins anew. */
export async function addResult(path: string, result: Result): Promise<void> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const before = text === '' || text.endsWith('\n') ? '' : '\n';
  await appendFile(path, `${before}${JSON.stringify(result)}\n`);
}

/** What a run of this kind has found; undefined: it is not there, or failed. */
export function foundOf<K extends Run['kind']>(results: Results, run: Extract<Run, { kind: K }>): Found[K] | undefined {
  return results.get(idOf(run))?.found as Found[K] | undefined;
}

/** A rival's rate: of its sweep that whose best look is the best. */
export function chosenRate(results: Results, method: RivalName): number | null {
  const tried = sweepOf(method).flatMap((run) => {
    const { rate } = run as Extract<Run, { kind: 'sweep' }>;
    const found = foundOf<'sweep'>(results, run as Extract<Run, { kind: 'sweep' }>);
    return found ? found.looks.map((look) => ({ ...look, rate, before: found.before })) : [];
  });
  return tried.length === 0 ? null : bestLook(tried, tried[0]!.before)!.rate;
}
