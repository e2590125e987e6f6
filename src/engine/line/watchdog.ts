import type { Heartbeat } from './port.ts';

/** Milliseconds after an abort or a close in which a worker may end its work in order, before nobody waits for it any longer. */
export const GRACE = 500;

/** Milliseconds after which a worker that does not answer is taken for stuck. */
const PATIENCE = 700;
/** Milliseconds for answers that lie there unread, because the caller's own thread was busy. */
const SECOND_LOOK = 150;
/** Milliseconds that one kernel may take: a layer of 512 rows of a large model on a slow machine. */
const KERNEL = 15_000;
/** Milliseconds between two questions to a worker that answers. */
const EVERY = 500;

/**
 * Looks after a worker that was told to end some work and has not said yet that it did. The worker must go on answering; one that
 * does not is stuck, and is to be ended by whoever owns it. Work in kernels, where no question is heard, makes itself known by
 * heartbeats.
 */
export class Watchdog {
  readonly #ask: () => Promise<unknown>;
  readonly #stuck: () => void;
  readonly #watched = new Set<number>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When the worker last said that it enters a kernel. */
  #beat = Number.NEGATIVE_INFINITY;
  /** Of the question that waits for its answer, or for the next one's time; 0: none. */
  #question = 0;
  #questions = 0;
  #ended = false;

  /**
   * @param ask resolves when the worker has turned to its messages
   * @param stuck called once
   */
  constructor(ask: () => Promise<unknown>, stuck: () => void) {
    this.#ask = ask;
    this.#stuck = stuck;
  }

  /** From the worker. */
  beat(): void {
    this.#beat = performance.now();
  }

  /** It has said something else: what it had begun then is over, and the next kernel makes itself known. */
  heard(): void {
    this.#beat = Number.NEGATIVE_INFINITY;
  }

  /** Until `release` of the same number. */
  watch(id: number): void {
    this.#watched.add(id);
    if (this.#question === 0) this.#next();
  }

  release(id: number): void {
    if (this.#watched.delete(id) && this.#watched.size === 0) this.#rest();
  }

  end(): void {
    this.#ended = true;
    this.#rest();
  }

  #rest(): void {
    this.#question = 0;
    clearTimeout(this.#timer);
  }

  #next(): void {
    if (this.#ended) return;
    const question = ++this.#questions;
    this.#question = question;
    this.#ask().then(
      () => {
        if (this.#question === question) this.#later(EVERY, () => this.#next());
      },
      () => {}, // the worker is gone, and others know it
    );
    const look = (): void => {
      if (performance.now() - this.#beat < KERNEL) this.#later(PATIENCE, look);
      else this.#later(SECOND_LOOK, () => this.#stuck());
    };
    this.#later(PATIENCE, look);
  }

  /** One timer at a time; none keeps a process alive. */
  #later(milliseconds: number, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, milliseconds);
    unref(this.#timer);
  }
}

/** Resolves when `work` is settled, with true, or after `GRACE`; never rejects. */
export async function briefly(work: Promise<unknown>): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const enough = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), GRACE);
  });
  const settled = () => true;
  const result = await Promise.race([work.then(settled, settled), enough]);
  clearTimeout(timer);
  return result;
}

export function isHeartbeat(data: unknown): data is Heartbeat {
  return typeof data === 'object' && data !== null && 'heartbeat' in data;
}

/** Node's timers are objects. */
export function unref(timer: unknown): void {
  (timer as { unref?: () => void }).unref?.();
}
