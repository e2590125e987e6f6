import { EspalierError, throwIfAborted } from '../../errors.ts';
import { type GeneratedToken, Generation } from '../../model/generate/generation.ts';
import type { LocalModel } from '../../model/model.ts';
import { checked } from '../../options/check.ts';
import { shown } from '../../options/shown.ts';
import { checkedText } from '../../options/texts.ts';
import { Turns } from '../../queue.ts';
import { checkedItems } from '../checks.ts';
import { Chain } from '../place/chain.ts';
import { Chains } from '../place/chains.ts';
import { type Continuation, type PlacedShots, ShotContext } from '../place/context.ts';
import { ShotPool } from '../pool/pool.ts';
import { modeFacts } from '../pool/prefix-mode.ts';
import type { LabelScores } from '../probe/label-probe.ts';
import { LabelTrie } from '../probe/labels.ts';
import { yesNoTokens } from '../probe/question-probe.ts';
import type { Answer, AnswerStream, Calibration, Fitted } from '../types.ts';
import { answerStream } from './answer-stream.ts';
import { fitCalibration, type Observation } from './calibrate.ts';
import { compareFull, firstLogits } from './compare-full.ts';
import { Evidence } from './evidence.ts';
import { mostOf, roundsOf } from './grid.ts';
import { likelyLabels } from './likely.ts';
import {
  type AskOptions,
  askOptions,
  type CalibrateOptions,
  calibrateOptions,
  type ShowOptions,
  threshold as thresholdRule,
} from './options.ts';
import { openPlainText } from './plain-text.ts';
import { type ShowSettings, settingsOf } from './presets.ts';
import type { QueryRun, Task } from './query-run.ts';
import { receiptOf } from './receipt.ts';
import { startChained, startPooled } from './start-run.ts';
import type { CalibrationItem } from './threshold.ts';

/** Most free answers that are written outside of their turn. */
const MOST_APART = 7;

/**
 * Answers queries with as many examples as each needs (AdapShot, arXiv 2605.03644): ranks the pool, tries several counts in one forward
 * pass, takes the smallest that is sure enough, and answers behind it. Nothing of the shots is computed again, unless the pool's
 * prefix mode says so. Queries are ranked, placed and probed one at a time; free answers to those that are asked together are written at
 * once, and share passes over the weights.
 */
export class Show {
  readonly #pool: ShotPool | null;
  readonly #chains: Chains | null;
  readonly #evidence: Evidence | null;
  /** As given, before anything was fitted. */
  readonly #given: ShowSettings;
  #task: Task;
  #threshold: number;
  readonly #turns = new Turns();
  /** Free answers that wait for their turn, and those that are written outside of it. */
  #queued = 0;
  #written = 0;
  #closed = false;

  private constructor(source: ShotPool | Chain | Chains, task: Task) {
    this.#pool = source instanceof ShotPool ? source : null;
    this.#chains = source instanceof Chains ? source : null;
    this.#task = task;
    const { trie } = task;
    this.#evidence = this.#pool && trie ? new Evidence(this.#pool, trie.labels) : null;
    const { calibration, ...given } = task.settings;
    this.#given = given;
    this.#threshold = given.threshold;
    if (calibration) this.#apply(calibration);
  }

  /** All options, with what was fitted. */
  get settings(): ShowSettings {
    return this.#task.settings;
  }

  /** Entropy that is sure enough, in the unit of `settings.entropy`; `calibrate` sets it. Setting it throws E_ARGUMENT. */
  get threshold(): number {
    return this.#threshold;
  }
  set threshold(threshold: number) {
    this.#threshold = thresholdRule.check(threshold, 'threshold');
  }

  /**
   * Over a pool; over a chain, whose shots stand in their order whatever the query (ranking, order, temperature and scale do not count
   * then); or over chains, of which the query's best ranked shots choose one. The source stays the caller's.
   * @throws E_ARGUMENT, E_CONTEXT_LENGTH, E_OUT_OF_MEMORY, E_DISPOSED
   */
  static async create(source: ShotPool | Chain | Chains, options: ShowOptions): Promise<Show> {
    if (!(source instanceof ShotPool || source instanceof Chain || source instanceof Chains)) {
      throw new EspalierError(
        'E_ARGUMENT',
        `The examples are ${shown(source)}.`,
        'Give a ShotPool, a Chain or Chains.',
      );
    }
    const settings = settingsOf(options, sourceKind(source));
    const { model } = source;
    const { labels, prompt, order, temperature, scale, room } = settings;
    const trie = labels ? LabelTrie.create(model.tokenizer, labels, { prompt }) : null;
    const yesNo = settings.entropy === 'label' ? null : yesNoTokens(model.tokenizer);
    const context = { order, temperature, ...(scale !== undefined && { scale }), ...(room !== undefined && { room }) };
    // of chains, each query's own takes its place
    const chain = source instanceof Chains ? source.chains[0]! : source;
    const placed = chain instanceof ShotPool ? await ShotContext.create(chain, context) : chain;
    return new Show(source, { model, placed, settings, trie, yesNo, bias: null });
  }

  get model(): LocalModel {
    return this.#task.model;
  }

  /**
   * An answer and what it took. Of an empty pool: without examples.
   * @throws E_ARGUMENT, E_CONTEXT_LENGTH for a query that does not fit, E_OUT_OF_MEMORY, E_ABORTED, E_DISPOSED
   */
  async ask(query: string, options: AskOptions = {}): Promise<Answer> {
    options = askingOf(query, options, 'ask()');
    if (this.#task.trie) return this.#turns.run(() => this.#label(query, options));
    const stream = this.stream(query, options);
    for await (const _ of stream);
    return stream.answer();
  }

  /**
   * Free text, token by token; its answer is there when iteration has ended. It starts when it is first asked for a token. Queries that were
   * waiting then go on while it is written, up to eight; others wait until it has ended or was left.
   * @throws E_ARGUMENT with labels, which come as a whole; while iterating as `ask`
   */
  stream(query: string, options: AskOptions = {}): AnswerStream {
    options = askingOf(query, options, 'stream()');
    if (this.#task.trie) {
      throw new EspalierError('E_ARGUMENT', 'Labels do not come token by token.', 'Call ask().');
    }
    return answerStream((end) => this.#generate(query, options, end));
  }

  /**
   * Fits to a development set, and uses from then on, what gives most right answers; of equals, that with fewest shots. Of all entropies
   * that occur the threshold; and unless `fit` is `threshold`: how much of what each label gets whatever is asked is taken off (batch
   * calibration), the weight of the vote, and what is done when no count is sure. What was fitted before is forgotten. In a pool that
   * recomputes, the threshold alone, by what the probes would have answered.
   * @throws E_ARGUMENT without labels, an empty set, or a label that is none; as `ask`
   */
  async calibrate(dev: readonly CalibrationItem[], options: CalibrateOptions = {}): Promise<Calibration> {
    const { trie } = this.#task;
    const { fit = 'all', signal, onProgress } = checked<CalibrateOptions>(calibrateOptions, options, 'calibrate()');
    const items = checkedItems<CalibrationItem>(dev);
    const stray = items.find(({ label }) => !trie?.labels.includes(label));
    if (!trie || items.length === 0 || stray) {
      throw new EspalierError(
        'E_ARGUMENT',
        !trie
          ? 'There are no labels.'
          : stray
            ? `"${stray.label.slice(0, 60)}" is no label.`
            : 'The development set is empty.',
        'Give queries with labels of this task.',
      );
    }
    onProgress?.(0, items.length);
    const settings = this.#given;
    const observations: Observation[] = [];
    for (const [i, { query, input, label }] of items.entries()) {
      const observation = await this.#turns.run(async () => {
        const task = { ...this.#task, settings, bias: null };
        const run = await this.#start(
          query,
          { ...(input !== undefined && { input }), ...(signal && { signal }) },
          task,
        );
        const cap = run.cap(mostUsed(settings));
        const rounds = roundsOf(settings.grid, cap);
        for (const round of rounds) {
          await run.probe(round);
          for (const shots of round) await run.scoresAt(shots);
        }
        const { probes, alone, vote, ridge } = run;
        return { rounds, probes, alone, vote, ridge, truth: trie.labels.indexOf(label), cap };
      });
      observations.push(observation);
      onProgress?.(i + 1, items.length);
    }
    const fitted = fitCalibration(observations, settings, this.#recomputes ? 'threshold' : fit);
    throwIfAborted(signal);
    this.#apply(fitted);
    return fitted;
  }

  #apply(fitted: Fitted): void {
    const { threshold, fallback, vote, ridge, bias } = fitted;
    this.#threshold = threshold;
    this.#task = {
      ...this.#task,
      settings: { ...this.#given, threshold, fallback, vote, ridge, calibration: fitted },
      bias: bias && new Map(Object.entries(bias).map(([shots, list]) => [Number(shots), list])),
    };
  }

  /** Frees the working cache; pool, chain and model stay. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#pool) this.#task.placed.close();
  }

  get #recomputes(): boolean {
    return this.#pool !== null && modeFacts(this.#pool.prefix).recompute;
  }

  /** Tokens and ranking of a query; the context is empty then. */
  async #start(query: string, options: AskOptions, task: Task = this.#task): Promise<QueryRun> {
    if (this.#closed) throw new EspalierError('E_DISPOSED', 'This Show is closed.', 'Create another one.');
    throwIfAborted(options.signal);
    return this.#pool
      ? startPooled(this.#pool, this.#evidence, query, options, task)
      : startChained(this.#chains, query, options, task);
  }

  /** How many shots to use. */
  async #choose(run: QueryRun, { shots }: AskOptions) {
    if (shots === undefined) return run.choose(mostUsed(this.settings), this.threshold);
    const cap = Number.isSafeInteger(shots) && shots >= 0 ? run.cap(shots) : -1;
    if (cap !== shots) {
      throw new EspalierError(
        cap < 0 || run.ranking.length < shots ? 'E_ARGUMENT' : 'E_CONTEXT_LENGTH',
        `${String(shots)} shots are wanted; ${cap < 0 ? run.ranking.length : cap} can be used.`,
        'Ask for fewer.',
      );
    }
    await run.place(shots);
    return { shots, fallback: false };
  }

  async #label(query: string, options: AskOptions): Promise<Answer> {
    const started = performance.now();
    const run = await this.#start(query, options);
    const choice = await this.#choose(run, options);
    const trie = this.#task.trie!;
    const scores = choice.before ? run.before! : await this.#scores(run, choice.shots);
    run.milliseconds.total = performance.now() - started;
    // what attention gives, without averages and votes; behind no pass there is none
    const own = run.recomputed ?? run.alone.get(choice.shots);
    const compared = options.compare && own ? await compareFull(run.task, run, choice.shots, own) : null;
    const label = trie.labels[scores.best]!;
    return {
      text: label,
      label,
      probabilities: Object.fromEntries(trie.labels.map((name, i) => [name, scores.probabilities[i]!])),
      top: likelyLabels(trie.labels, scores.probabilities),
      receipt: receiptOf(run.task, this.#pool, run, choice, this.threshold, compared, 0),
    };
  }

  async #scores(run: QueryRun, shots: number): Promise<LabelScores> {
    if (!this.#recomputes) return run.scoresAt(shots);
    const started = performance.now();
    const before = run.milliseconds.answer;
    const scores = await run.plainScores(shots);
    run.milliseconds.answer = before + performance.now() - started;
    return scores;
  }

  async *#generate(
    query: string,
    options: AskOptions,
    end: (answer: Answer) => void,
  ): AsyncGenerator<GeneratedToken, void> {
    let release = (): void => {};
    // our turn lasts until the answer is being written on a cache of its own, or until the generator ends
    this.#queued++;
    const turn = new Promise<void>((begin) => {
      void this.#turns.run(() => {
        begin();
        return new Promise<void>((done) => {
          release = done;
        });
      });
    });
    await turn;
    this.#queued--;
    let written = false;
    try {
      const started = performance.now();
      const run = await this.#start(query, options);
      const choice = await this.#choose(run, options);
      const { model, placed, settings } = run.task;
      await run.place(choice.shots);
      const answering = performance.now();
      const plain = this.#recomputes ? await openPlainText(model, run.textOf(choice.shots), options.signal) : null;
      const compared = options.compare
        ? await compareFull(run.task, run, choice.shots, {
            logits: await firstLogits(model, placed, run, choice.shots),
          })
        : null;
      const comparing = performance.now() - answering;
      // others wait: their shots can be placed while this answer is written, and what they write shares passes with it
      const apart = this.#queued > 0 && this.#written < MOST_APART;
      const behind = plain ? plain.continuation() : await continuation(placed, choice.shots, apart);
      const receipt = (count: number) => receiptOf(run.task, this.#pool, run, choice, this.threshold, compared, count);
      const early = apart && behind.own ? receipt(0) : null;
      if (early) {
        written = true;
        this.#written++;
        release();
      }
      const { maxTokens, stop, sampling } = settings;
      const { decoder, tokenizer } = model;
      let text = '';
      let count = 0;
      try {
        const context = { decoder, tokenizer, eosIds: new Set(model.eosIds), behind };
        const signal = options.signal && { signal: options.signal };
        const generation = new Generation(context, run.ids, { ...sampling, ...signal, maxTokens, stop });
        for await (const token of generation) {
          text += token.text;
          count++;
          yield token;
        }
      } finally {
        behind.end();
        plain?.close();
      }
      run.forwarded += run.ids.length + Math.max(0, count - 1) + (plain?.length ?? 0);
      run.milliseconds.answer += performance.now() - answering - comparing;
      run.milliseconds.total = performance.now() - started - comparing;
      const tokens = early && { ...early.tokens, forwarded: run.forwarded, generated: count };
      end({ text: text.trim(), receipt: early && tokens ? { ...early, tokens } : receipt(count) });
    } finally {
      if (written) this.#written--;
      release();
    }
  }
}

/** Where an answer goes on: on a cache of its own where that is wanted and there is memory for it. */
async function continuation(placed: PlacedShots, shots: number, own: boolean): Promise<Continuation> {
  if (!own) return placed.continueAt(shots);
  try {
    return await placed.continueAt(shots, true);
  } catch (error) {
    if (!(error instanceof EspalierError && error.code === 'E_OUT_OF_MEMORY')) throw error;
    return placed.continueAt(shots);
  }
}

function sourceKind(source: ShotPool | Chain | Chains): 'chain' | 'blocks' | 'pool' {
  if (!(source instanceof ShotPool)) return 'chain';
  return modeFacts(source.prefix).block > 1 ? 'blocks' : 'pool';
}

/** The largest count that is used without being asked for. */
function mostUsed({ grid, fallback }: ShowSettings): number {
  return Math.max(mostOf(grid), typeof fallback === 'object' ? fallback.shots : 0);
}

function askingOf(query: string, options: AskOptions, what: string): AskOptions {
  checkedText(query, 'The query');
  return checked<AskOptions>(askOptions, options, what);
}
