import { EspalierError } from '../../errors.ts';
import { answerStream } from '../../show/answer/answer-stream.ts';
import type { AskOptions, CalibrateOptions } from '../../show/answer/options.ts';
import type { ShowSettings } from '../../show/answer/presets.ts';
import type { CalibrationItem } from '../../show/answer/threshold.ts';
import type { Answer, AnswerStream, Calibration } from '../../show/types.ts';
import type { Owned } from '../line/owned.ts';
import type { Data } from '../line/port.ts';
import { tokensOf } from '../line/token-stream.ts';
import type { Model } from '../model/model.ts';
import type { Chain, Chains } from './chains.ts';
import { parted, type Source, sourceOf } from './line.ts';
import type { ShowOptions } from './options.ts';
import type { ShotPool } from './pool.ts';
import type { AnswerStart, Asking, ShowCalls } from './protocol.ts';

/**
 * Answers queries with as many examples as each needs (AdapShot, arXiv 2605.03644), in the engine's worker; as `Show` of `espalier/show`,
 * with the same results. Free answers to queries that are asked together are written at once, and share passes over the weights.
 *
 * Any call may reject with E_DISPOSED when this, its examples, the model or the engine is closed, and with E_WORKER_LOST.
 */
export class Show {
  readonly #held: Owned<ShowCalls>;
  /** Of the pool: a ranking may have to encode all of it. */
  readonly #callbacks: Source['callbacks'];
  #settings: ShowSettings;
  /** To be closed with it. */
  #model: Model | null = null;
  /** As it was set; null: as it was given or fitted. */
  #threshold: number | null = null;

  private constructor(held: Owned<ShowCalls>, callbacks: Source['callbacks'], settings: ShowSettings) {
    this.#held = held;
    this.#callbacks = callbacks;
    this.#settings = settings;
  }

  /** Over a pool, a chain or chains, which stay the caller's. @throws E_ARGUMENT, E_CONTEXT_LENGTH, E_OUT_OF_MEMORY, E_DISPOSED */
  static async create(source: ShotPool | Chain | Chains, options: ShowOptions): Promise<Show> {
    const { held, callbacks } = sourceOf(source);
    const { data, signal, callbacks: own } = parted(options, 'Show.create');
    // it takes no signal either: the worker says so
    const given = signal ? { ...data, signal: null } : data;
    const { show, settings } = await held.call('show', [held.number, given], { callbacks: own, said: 'Show.create' });
    return new Show(held.part(show, closed), callbacks, settings);
  }

  /** The same, closing the model with itself. */
  static owning(model: Model, show: Show): Show {
    show.#model = model;
    return show;
  }

  /** All options, with what was fitted. */
  get settings(): ShowSettings {
    return this.#settings;
  }

  /** Entropy that is sure enough, in the unit of `settings.entropy`; `calibrate` sets it. What is none, `ask` refuses. */
  get threshold(): number {
    return this.#threshold ?? this.#settings.threshold;
  }
  set threshold(threshold: number) {
    this.#threshold = threshold;
  }

  /**
   * An answer and what it took, as plain data. Of an empty pool: without examples.
   * @throws E_ARGUMENT, E_CONTEXT_LENGTH for a query that does not fit, E_OUT_OF_MEMORY, E_ABORTED, E_DISPOSED
   */
  async ask(query: string, options: AskOptions = {}): Promise<Answer> {
    const { data, signal, callbacks: own } = parted(options, 'ask');
    const callbacks = { ...this.#callbacks, ...own };
    return this.#held.call('ask', [this.#held.number, query, this.#asking(data)], { signal, callbacks });
  }

  /**
   * Free text, token by token; its answer is there when iteration has ended. It starts when it is first asked for a token. What is wrong comes out there: E_ARGUMENT with labels, which come as a whole; else as `ask`.
   */
  stream(query: string, options: AskOptions = {}): AnswerStream {
    const { link, number } = this.#held;
    return answerStream((end) => {
      const { data, signal, callbacks: own } = parted(options, 'stream');
      const callbacks = { ...this.#callbacks, ...own };
      return tokensOf<AnswerStart, Answer>({
        link,
        on: this.#held,
        signal,
        begin: () => ({ query, asking: this.#asking(data) }),
        next: (stream, start, given) =>
          link.call('nextAnswer', [number, stream, start], { ...given, callbacks, said: 'stream' }),
        onFinish: end,
      });
    });
  }

  /**
   * Fits to a development set, and uses from then on, what gives most right answers (see `Show` of `espalier/show`).
   * @throws E_ARGUMENT without labels, an empty set, or a label that is none; as `ask`
   */
  async calibrate(dev: readonly CalibrationItem[], options: CalibrateOptions = {}): Promise<Calibration> {
    const { data, signal, callbacks } = parted(options, 'calibrate');
    // what was fitted holds in the worker, also where the signal fired just before that is heard here
    const fitted = ({ settings }: { settings: ShowSettings }) => {
      this.#settings = settings;
      this.#threshold = null;
    };
    const result = await this.#held.call('calibrate', [this.#held.number, dev, data], {
      signal,
      callbacks: { ...this.#callbacks, ...callbacks },
      keepLate: true,
      discard: fitted,
    });
    fitted(result);
    return result.calibration;
  }

  /** Frees the working cache; pool, chain and model stay, unless `open(…).show(…)` made them: then all is closed. */
  close(): Promise<void> {
    return (this.#model ?? this.#held).close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #asking(options: Data<AskOptions>): Asking {
    return { options, threshold: this.#threshold };
  }
}

function closed(): EspalierError {
  return new EspalierError('E_DISPOSED', 'This Show is closed.', 'Create another one.');
}
