import { EspalierError } from '../../errors.ts';
import { checked, filled } from '../../options/check.ts';
import { isDetached } from '../../runtime/files/bytes.ts';
import { host } from '../../runtime/host/host.ts';
import type { Host, WorkerHandle } from '../../runtime/host/types.ts';
import { aborted } from '../line/link.ts';
import { placeOf } from '../line/parted-options.ts';
import type { Heartbeat } from '../line/port.ts';
import { isHeartbeat } from '../line/watchdog.ts';
import { unpackError } from '../line/wire-error.ts';
import type { HandAnswer, HandStart, HandTask } from './hand.ts';
import { type CrewOptions, checkedTasks, crewOptions, type MapOptions, mapOptions } from './options.ts';
import type { TaskInput, TaskName, TaskResult } from './tasks.ts';

/** A worker and what it does. */
interface Hand {
  readonly handle: WorkerHandle;
  job: Job | null;
}

interface Job {
  readonly message: HandTask;
  readonly transfer: ArrayBuffer[];
  readonly resolve: (value: never) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Workers that share nothing: each takes a whole task (a matrix product, say), with its data moved to it and its result moved back.
 * It needs no shared memory, so it is how a page that is not cross-origin isolated uses all cores.
 */
export class Crew {
  readonly workers: number;
  readonly #hands: Hand[] = [];
  readonly #queue: Job[] = [];
  #ended: EspalierError | null = null;

  /** @throws E_ARGUMENT, E_DEVICE_UNSUPPORTED, E_FILE_NOT_FOUND, E_OUT_OF_MEMORY, E_WORKER_LOST */
  static async create(given: CrewOptions = {}): Promise<Crew> {
    const options = filled(crewOptions, checked<CrewOptions>(crewOptions, given, 'Crew.create'));
    const worker = placeOf(options.workerLocation);
    const start: HandStart = {
      hand: { relaxed: options.relaxed, wasmLocation: placeOf(options.wasmLocation, true)?.href },
    };
    const on = await host();
    const count = options.workers === 'auto' ? Math.max(1, on.cores) : options.workers;
    const crew = new Crew(count);
    try {
      await Promise.all(Array.from({ length: count }, () => crew.#hire(on, worker, start)));
      return crew;
    } catch (error) {
      await crew.close();
      throw error;
    }
  }

  private constructor(workers: number) {
    this.workers = workers;
  }

  /** One task. @throws E_SHAPE, E_OUT_OF_MEMORY, E_ABORTED, E_DISPOSED, E_WORKER_LOST */
  async run<K extends TaskName>(name: K, input: TaskInput<K>, options: MapOptions = {}): Promise<TaskResult<K>> {
    return (await this.map(name, [input], options))[0]!;
  }

  /**
   * A task for each input, shared out as workers become free; results in the order of the inputs. After a failure or an abort no
   * further task is begun. @throws as `run`
   */
  async map<K extends TaskName>(
    name: K,
    inputs: readonly TaskInput<K>[],
    options: MapOptions = {},
  ): Promise<TaskResult<K>[]> {
    const { signal, transfer = false, onProgress } = checked<MapOptions>(mapOptions, options, 'Crew.map');
    const tasks = checkedTasks(name, inputs);
    if (signal?.aborted) throw aborted(signal);
    let done = 0;
    let settled = false;
    const jobs: Job[] = [];
    /** At once, and not when the promises have passed it on: another answer may come before that. */
    const settle = () => {
      settled = true;
      for (const job of jobs) {
        const at = this.#queue.indexOf(job);
        if (at >= 0) this.#queue.splice(at, 1);
      }
    };
    let onAbort: (() => void) | undefined;
    try {
      const results = tasks.map(
        (input) =>
          new Promise<TaskResult<K>>((resolve, reject) => {
            const job: Job = {
              message: { name, input },
              transfer: transfer ? buffersOf(input) : [],
              resolve: (value) => {
                try {
                  if (!settled) onProgress?.(++done, tasks.length);
                  resolve(value);
                } catch (error) {
                  job.reject(error); // what a callback throws comes out of the call
                }
              },
              reject: (error) => {
                settle();
                reject(error);
              },
            };
            jobs.push(job);
            this.#queue.push(job);
          }),
      );
      const stop = new Promise<never>((_, reject) => {
        onAbort = () => {
          settle();
          reject(aborted(signal!));
        };
        signal?.addEventListener('abort', onAbort);
      });
      this.#assign();
      return await Promise.race([Promise.all(results), stop]);
    } finally {
      settle();
      if (onAbort) signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Ends the workers, whatever they do. Tasks that wait reject with E_DISPOSED. */
  async close(): Promise<void> {
    await this.#end(new EspalierError('E_DISPOSED', 'The crew is closed.', 'Create another one.'));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #hire(on: Host, location: URL | undefined, start: HandStart): Promise<void> {
    const handle = on.spawn('engine', location);
    const hand: Hand = { handle, job: null };
    this.#hands.push(hand);
    await new Promise<void>((resolve, reject) => {
      handle.onLost((cause) => {
        const error = new EspalierError('E_WORKER_LOST', 'A worker of the crew is gone.', 'Create another crew.', {
          cause,
        });
        reject(error);
        void this.#end(error);
      });
      handle.ref();
      handle.endpoint.addEventListener('message', (message) => {
        const event = message as MessageEvent<HandAnswer | Heartbeat>;
        if (isHeartbeat(event.data)) return;
        // an answer to a crew that is being closed must not let the process go before the worker has
        if (this.#ended) return;
        const answer = event.data;
        const { job } = hand;
        hand.job = null;
        handle.unref();
        if ('ready' in answer) resolve();
        else if ('value' in answer) job?.resolve(answer.value as never);
        else if (job) job.reject(unpackError(answer.error));
        else reject(unpackError(answer.error));
        this.#assign();
      });
      handle.endpoint.postMessage(start);
    });
  }

  /** Gives waiting tasks to idle workers. */
  #assign(): void {
    if (this.#ended) {
      for (const job of this.#queue.splice(0)) job.reject(this.#ended);
      return;
    }
    for (const hand of this.#hands) {
      // again where a task could not be sent: nothing else would wake a hand that is idle
      while (hand.job === null) {
        const job = this.#queue.shift();
        if (!job) return;
        this.#give(hand, job);
      }
    }
  }

  #give(hand: Hand, job: Job): void {
    hand.job = job;
    hand.handle.ref();
    try {
      if (buffersOf(job.message.input).some(isDetached)) throw new Error('A buffer is detached.');
      hand.handle.endpoint.postMessage(job.message, job.transfer);
    } catch (cause) {
      hand.job = null;
      hand.handle.unref();
      job.reject(
        new EspalierError(
          'E_ARGUMENT',
          'The arrays of an input were given away before.',
          'Give each buffer to one input only, or leave transfer out.',
          { cause },
        ),
      );
    }
  }

  async #end(error: EspalierError): Promise<void> {
    this.#ended ??= error;
    for (const hand of this.#hands) {
      hand.job?.reject(this.#ended);
      hand.job = null;
    }
    this.#assign();
    await Promise.all(this.#hands.map(({ handle }) => handle.terminate()));
  }
}

/** Whole buffers among the values of an input. */
function buffersOf(input: object): ArrayBuffer[] {
  const buffers = new Set<ArrayBuffer>();
  for (const value of Object.values(input)) {
    if (ArrayBuffer.isView(value) && value.buffer instanceof ArrayBuffer) buffers.add(value.buffer);
  }
  return [...buffers];
}
