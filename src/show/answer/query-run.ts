import type { LocalModel } from '../../model/model.ts';
import { type PlacedShots, ShotContext } from '../place/context.ts';
import { amongAll, type LabelScores, probeLabels, type RunBranches } from '../probe/label-probe.ts';
import type { LabelTrie } from '../probe/labels.ts';
import { probeQuestion, type YesNo } from '../probe/question-probe.ts';
import type { Probe, Shot, ShowReceipt } from '../types.ts';
import {
  type LabelBias,
  membersAt,
  type Opinion,
  opinionBefore,
  pooledScores,
  voteShares,
  type WeightedRidge,
  type WeightedVote,
} from './ensemble.ts';
import { roundsOf } from './grid.ts';
import { openPlainText } from './plain-text.ts';
import type { ShowSettings } from './presets.ts';
import { type Choice, fallBack, firstSure } from './stopping.ts';

/** What all queries have in common. */
export interface Task {
  readonly model: LocalModel;
  readonly placed: PlacedShots;
  readonly settings: ShowSettings;
  readonly trie: LabelTrie | null;
  readonly yesNo: YesNo | null;
  /** Fitted by `calibrate`. */
  readonly bias: LabelBias | null;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** One query on its way: places shots, probes, and counts what it took. */
export class QueryRun {
  readonly task: Task;
  readonly ids: readonly number[];
  readonly #rank: () => readonly string[];
  #ranking: readonly string[] | null = null;
  readonly signal: AbortSignal | undefined;
  readonly probes: Probe[] = [];
  readonly milliseconds: Mutable<ShowReceipt['milliseconds']> = {
    rank: 0,
    encode: 0,
    place: 0,
    probe: 0,
    answer: 0,
    total: 0,
  };
  /** Behind the plain text of the shots, alone; null where that was not asked for. */
  recomputed: LabelScores | null = null;
  /** Tokens that went through the layers. */
  forwarded = 0;
  /** Tokens whose keys were rotated, and stored bytes that were read for it. */
  rotated = 0;
  bytesRead = 0;
  readonly #questionIds: readonly number[];
  /** Of the nearest shots' labels. */
  readonly vote: WeightedVote | null;
  readonly ridge: WeightedRidge | null;
  /** What these two say. */
  readonly before: Opinion | null;
  /** Labels that the model is asked for, by index; null: all. */
  readonly scored: readonly number[] | null;
  readonly #trie: LabelTrie | null;
  /** By count: distributions over labels behind so many shots, without averages, votes and bias. */
  readonly alone = new Map<number, LabelScores>();
  /** By count, with all that counts. */
  readonly #scores = new Map<number, LabelScores>();

  /**
   * @param rank gives ids, the best first
   * @param voters the nearest shots, whose labels vote where the settings say so
   * @param shares of labels by ridge regression; null: there is none
   */
  constructor(
    task: Task,
    ids: readonly number[],
    rank: () => readonly string[],
    signal: AbortSignal | undefined,
    voters: readonly Shot[],
    shares: Float64Array | null = null,
  ) {
    this.task = task;
    this.vote = voteOf(task, voters);
    const { ridge } = task.settings;
    this.ridge = ridge && shares && { shares, weight: ridge.weight, modelWeight: ridge.modelWeight };
    this.before = this.ridge && opinionBefore(this.vote, this.ridge);
    this.scored = this.before && likeliest(this.before.probabilities, ridge!.candidates);
    this.#trie = this.scored ? task.trie!.among(this.scored) : task.trie;
    this.ids = ids;
    this.#rank = rank;
    this.signal = signal;
    const { model, settings } = task;
    const asks = settings.entropy !== 'label';
    this.#questionIds = asks ? [...ids, ...model.encode(settings.question, { addBos: false })] : [];
  }

  /** Best first; found when it is first needed. */
  get ranking(): readonly string[] {
    this.#ranking ??= this.#rank();
    return this.#ranking;
  }

  /** Most shots that can be used for this query. @throws E_CONTEXT_LENGTH for a query that is too long by itself */
  cap(most: number): number {
    const { placed } = this.task;
    const trie = this.#trie;
    const labels = Math.max(1, ...(trie?.paths().map(({ ids }) => ids.length) ?? []));
    const need = Math.max(this.ids.length + labels, this.#questionIds.length + 1);
    const wanted = this.ranking.slice(0, most);
    if (placed instanceof ShotContext) return placed.fitting(wanted, need);
    const { maxPositions } = placed.model.config;
    let count = wanted.length;
    while (count > 0 && placed.prefix.length + placed.tokens(count).length + need > maxPositions) count--;
    return count;
  }

  /** Places the first so many shots, as far as they are not there. */
  async place(count: number): Promise<void> {
    const { placed } = this.task;
    if (!(placed instanceof ShotContext) || placed.placed.length >= count) return;
    const there = new Set(placed.placed.map(({ id }) => id));
    const wanted = this.ranking.slice(0, count).filter((id) => !there.has(id));
    const { repaired, encodeMilliseconds, milliseconds } = await placed.place(wanted, this.signal);
    this.forwarded += repaired;
    this.rotated = placed.tokens(placed.placed.length).length;
    this.bytesRead = placed.storedBytes;
    this.milliseconds.encode += encodeMilliseconds;
    this.milliseconds.place += milliseconds - encodeMilliseconds;
  }

  /** Tries counts round by round, of at most so many shots, until one is sure enough. */
  async choose(most: number, threshold: number): Promise<Choice> {
    const { settings } = this.task;
    let last: readonly Probe[] = [];
    const { fallback } = settings;
    if (this.before && this.before.entropy <= threshold) return { shots: 0, fallback: false, before: true };
    const cap = this.cap(most);
    // nothing is sure at 0, and of a fixed fallback it is known what to look at
    if (threshold === 0 && typeof fallback === 'object' && settings.entropy === 'label') {
      const shots = Math.min(fallback.shots, cap);
      const below = settings.ensemble === 'all' ? roundsOf(settings.grid, cap).flat() : [];
      await this.probe([...below.filter((count) => count < shots), shots]);
      return { shots, fallback: true };
    }
    for (const round of roundsOf(settings.grid, cap)) {
      last = await this.probe(round);
      const sure = firstSure(last, threshold, settings);
      if (sure) return { shots: sure.shots, fallback: false };
    }
    return { shots: fallBack(this.probes, last, threshold, settings, cap), fallback: true };
  }

  /** One round. */
  async probe(counts: readonly number[]): Promise<readonly Probe[]> {
    await this.place(Math.max(...counts));
    const started = performance.now();
    const { model, placed, settings, yesNo, trie } = this.task;
    let round: readonly Probe[];
    if (settings.entropy === 'label') {
      round = (await this.#label(counts)).map(({ shots, entropy, mass, best }) => {
        return { shots, entropy, mass, yes: null, label: trie!.labels[best]! };
      });
    } else {
      const scores = await probeQuestion(
        model.decoder,
        (list, use) => placed.branches(list, use, this.signal),
        yesNo!,
        this.#questionIds,
        counts,
        settings.entropy,
      );
      this.forwarded += counts.length * this.#questionIds.length;
      round = scores.map((score) => ({ ...score, label: null }));
    }
    this.milliseconds.probe += performance.now() - started;
    this.probes.push(...round);
    return round;
  }

  /** Labels behind so many shots: from a probe where there was one. */
  async scoresAt(shots: number): Promise<LabelScores> {
    const known = this.#scores.get(shots);
    if (known) return known;
    await this.place(shots);
    const started = performance.now();
    const [scores] = await this.#label([shots]);
    this.milliseconds.answer += performance.now() - started;
    return scores!;
  }

  /** Labels behind the plain text of so many shots, under ordinary attention. */
  async plainScores(shots: number): Promise<LabelScores> {
    const { model } = this.task;
    const ids = this.textOf(shots);
    const text = await openPlainText(model, ids, this.signal);
    try {
      const { scores, forwarded } = await this.scoresBehind(text.run, [shots]);
      this.forwarded += ids.length + forwarded;
      this.recomputed = scores[0]!;
      // nothing else was tried with full attention, and a bias is of what was reused
      return pooledScores(scores, { vote: this.vote, ridge: this.ridge, bias: null });
    } finally {
      text.close();
    }
  }

  /** Prefix and the first so many shots as they stand in the context. */
  textOf(shots: number): readonly number[] {
    const { placed } = this.task;
    return [...placed.prefix, ...placed.tokens(shots)];
  }

  async #label(counts: readonly number[]): Promise<readonly LabelScores[]> {
    const { placed } = this.task;
    const { scores, forwarded } = await this.scoresBehind(
      (list, use) => placed.branches(list, use, this.signal),
      counts,
    );
    this.forwarded += forwarded;
    for (const score of scores) this.alone.set(score.shots, score);
    for (const { shots } of scores) {
      const members = this.averaged(shots).map((count) => this.alone.get(count)!);
      this.#scores.set(shots, pooledScores(members, { vote: this.vote, ridge: this.ridge, bias: this.task.bias }));
    }
    return counts.map((shots) => this.#scores.get(shots)!);
  }

  /** Labels that the model is asked for, behind branches of any kind, and the tokens that went through the layers for it. */
  async scoresBehind(run: RunBranches, counts: readonly number[]) {
    const { model, settings, trie } = this.task;
    const { scores, forwarded } = await probeLabels(
      model.decoder,
      run,
      this.#trie!,
      this.ids,
      counts,
      settings.scoring,
    );
    const { scored } = this;
    const all = scored ? scores.map((score) => amongAll(score, scored, trie!.labels.length)) : scores;
    return { scores: all, forwarded };
  }

  /** Counts whose distributions over labels the one behind so many shots averages. */
  averaged(shots: number): readonly number[] {
    return membersAt(shots, this.alone.keys(), this.task.settings.ensemble);
  }
}

/** The likeliest labels by index, ascending, with all that are as likely as the last of them; null: all are. */
function likeliest(probabilities: Float64Array, count: number): readonly number[] | null {
  if (probabilities.length <= Math.max(2, count)) return null;
  const order = Array.from(probabilities.keys()).sort((a, b) => probabilities[b]! - probabilities[a]!);
  const least = probabilities[order[Math.max(2, count) - 1]!]!;
  const likely = order.filter((label) => probabilities[label]! >= least).sort((a, b) => a - b);
  return likely.length < probabilities.length ? likely : null;
}

/** How the labels of the nearest shots vote. */
function voteOf({ settings: { vote }, trie }: Task, voters: readonly Shot[]): WeightedVote | null {
  if (!vote || vote.weight === 0 || !trie || voters.length === 0) return null;
  const labels = voters.map(({ label }) => trie.labels.indexOf(label ?? ''));
  return { shares: voteShares(labels, trie.labels.length), weight: vote.weight };
}
