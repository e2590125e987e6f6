import { EspalierError, throwIfAborted } from '../../errors.ts';
import { checked, type Filled, filled } from '../../options/check.ts';
import { sentenceRouge } from '../scores/rouge.ts';
import { mean } from '../statistics.ts';
import { Asker, type MeasuredModel } from './asking.ts';
import type { KnowMemData, MuseData, PlacedText, PrivacyData, VerbMemRow } from './muse-folder.ts';
import { type MuseOptions, museOptions } from './options.ts';
import { areaUnderCurve, minK, privLeak } from './privacy.ts';

/** A text that the model wrote, and its ROUGE-L F1. */
export interface MuseItem {
  readonly written: string;
  readonly rougeL: number;
}

/** What was measured; null what the data do not have. */
export interface MuseMeasures {
  /** Mean ROUGE-L F1, stemmed, from 0 to 1: of greedy continuations of 128 tokens, of answers of 32. */
  readonly verbMem: number | null;
  readonly knowMem: { readonly forget: number | null; readonly retain: number | null };
  /** How often a forgotten text has a lower Min-K score than one never seen: 1 where it still looks as trained on. */
  readonly auc: number | null;
  /** That of the reference, 0.5 without one, and PrivLeak against it. */
  readonly referenceAuc: number | null;
  readonly privLeak: number | null;
  readonly counts: {
    readonly verbMem: number;
    readonly forget: number;
    readonly retain: number;
    readonly privacy: number;
  };
  /** Of the texts of PrivLeak, and the share of their tokens that Min-K looked at. */
  readonly sha256: string | null;
  readonly share: number | null;
  readonly items: {
    readonly verbMem: readonly MuseItem[];
    readonly forget: readonly MuseItem[];
    readonly retain: readonly MuseItem[];
    /** Min-K scores. */
    readonly privacy: { readonly forget: readonly number[]; readonly holdout: readonly number[] };
  };
}

const VERB_TOKENS = 128;
const KNOW_TOKENS = 32;
/** Where an answer ends and the next question would begin. */
const STOPS = ['\n\n', '\nQuestion', 'Question:'];
/** Long texts that are scored together. */
const TOGETHER = 8;

type Options = Filled<MuseOptions, typeof museOptions>;

/**
 * Measures a model on MUSE (Shi et al. 2024), as open-unlearning does.
 * @throws E_ARGUMENT, E_CONTEXT_LENGTH with the row of a prompt that is too long, E_DATA_INVALID for a text without a token to score, E_ABORTED,
 *   E_OUT_OF_MEMORY
 */
export async function measureMuse(
  model: MeasuredModel,
  data: MuseData,
  options: MuseOptions = {},
): Promise<MuseMeasures> {
  const given = filled(museOptions, checked<MuseOptions>(museOptions, options, 'measureMuse()'));
  const asker = new Asker(model, given);
  const verbMem = data.verbMem === null ? [] : await continued(asker, data.verbMem, given);
  const forget = data.forget === null ? [] : await answered(asker, data.forget, 'KnowMem of forget', given);
  const retain = data.retain === null ? [] : await answered(asker, data.retain, 'KnowMem of retain', given);
  const privacy = await measurePrivacy(model, data.privacy, options);
  return {
    verbMem: meanOf(verbMem),
    knowMem: { forget: meanOf(forget), retain: meanOf(retain) },
    auc: privacy.auc,
    ...leakOf(privacy.auc, null),
    counts: {
      verbMem: verbMem.length,
      forget: forget.length,
      retain: retain.length,
      privacy: privacy.forget.length + privacy.holdout.length,
    },
    sha256: data.privacy?.sha256 ?? null,
    share: data.privacy === null ? null : given.share,
    items: { verbMem, forget, retain, privacy: { forget: privacy.forget, holdout: privacy.holdout } },
  };
}

/** PrivLeak against a model that never saw the texts, or without one. @throws E_ARGUMENT for an area that is none */
export function leakOf(
  auc: number | null,
  reference: number | null,
): { readonly referenceAuc: number | null; readonly privLeak: number | null } {
  if (auc === null) return { referenceAuc: null, privLeak: null };
  const referenceAuc = reference ?? 0.5;
  return { referenceAuc, privLeak: privLeak(auc, referenceAuc) };
}

/** Min-K scores of both kinds of texts, which is all that is asked of a reference. @throws as `measureMuse` */
export async function measurePrivacy(
  model: MeasuredModel,
  data: PrivacyData | null,
  options: MuseOptions = {},
): Promise<{ readonly auc: number | null; readonly forget: readonly number[]; readonly holdout: readonly number[] }> {
  const given = filled(museOptions, checked<MuseOptions>(museOptions, options, 'measurePrivacy()'));
  if (data === null) return { auc: null, forget: [], holdout: [] };
  const forget = await minKs(model, data.forget, 'forgotten texts', given);
  const holdout = await minKs(model, data.holdout, 'texts never seen', given);
  return { auc: areaUnderCurve(forget, holdout), forget, holdout };
}

async function continued(asker: Asker, rows: readonly VerbMemRow[], options: Options): Promise<MuseItem[]> {
  const { batch, signal } = options;
  const onProgress = teller('VerbMem', 'answering', rows.length, options);
  const texts = await asker.write(rows, { maxTokens: VERB_TOKENS, batch, signal, onProgress });
  return texts.map((written, i) => itemOf(written, [rows[i]!.continuation]));
}

async function answered(asker: Asker, data: KnowMemData, of: string, options: Options): Promise<MuseItem[]> {
  const { batch, signal, shots = data.shots.length } = options;
  const onProgress = teller(of, 'answering', data.rows.length, options);
  const examples = data.shots.slice(0, shots);
  const prompts = data.rows.map(({ question, place }) => ({ prompt: asker.prompt(question, examples), place }));
  const texts = await asker.write(prompts, { maxTokens: KNOW_TOKENS, stop: STOPS, batch, signal, onProgress });
  return texts.map((written, i) => itemOf(written, data.rows[i]!.answers));
}

/** Texts are cut where the model's context ends. */
async function minKs(
  model: MeasuredModel,
  texts: readonly PlacedText[],
  of: string,
  options: Options,
): Promise<number[]> {
  const { signal, share } = options;
  const tell = teller(of, 'scoring', texts.length, options);
  const scores: number[] = [];
  while (scores.length < texts.length) {
    throwIfAborted(signal);
    const some = texts.slice(scores.length, scores.length + TOGETHER);
    const ids = await Promise.all(some.map(({ text }) => model.encode(text)));
    const short = ids.findIndex((own) => own.length < 2);
    if (short >= 0) {
      const what = `${some[short]!.place}: no token of the text has one before it.`;
      throw new EspalierError('E_DATA_INVALID', what, 'Remove it, or fill it in.');
    }
    const cut = ids.map((own) => own.slice(0, model.config.maxPositions));
    const scored = await model.scoreBatch(cut, { ...(signal && { signal }) });
    for (const tokens of scored) {
      const logs = tokens.flatMap(({ logprob }) => logprob ?? []);
      scores.push(minK(logs, share));
    }
    tell(scores.length);
  }
  return scores;
}

function teller(
  of: string,
  doing: 'scoring' | 'answering',
  total: number,
  { onProgress }: Options,
): (done: number) => void {
  const tell = (done: number) => onProgress?.({ of, doing, done, total });
  tell(0);
  return tell;
}

function itemOf(written: string, references: readonly string[]): MuseItem {
  return { written, rougeL: sentenceRouge(written, references, { stemmer: true }).rougeL.f1 };
}

const meanOf = (items: readonly MuseItem[]): number | null =>
  items.length === 0 ? null : mean(items.map(({ rougeL }) => rougeL));
