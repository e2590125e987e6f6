import { controlWords, markLaneLost, STATE, STOPPED } from '../../device/wasm/control.ts';
import type { LaneFirst } from '../../device/wasm/lanes.ts';
import type { Host, WorkerHandle } from '../../runtime/host/types.ts';
import type { LentLane } from './port.ts';

/**
 * The lanes of one worker. They are started on the caller's side, which hears of their death: the worker cannot, while it waits for
 * them in shared memory.
 */
export class LaneWorkers {
  readonly handles: WorkerHandle[] = [];
  readonly #host: Host;
  readonly #location: URL | undefined;
  readonly #onLost: (cause: unknown) => void;
  #ended = false;

  constructor(host: Host, location: URL | undefined, onLost: (cause: unknown) => void) {
    this.#host = host;
    this.#location = location;
    this.#onLost = onLost;
  }

  /** Starts a lane; resolves with its first message, which says that it runs. */
  async spawn({ control, port }: LentLane): Promise<void> {
    // a request that was on its way when the worker was ended
    if (this.#ended) {
      port.close();
      throw new Error('The worker is gone.');
    }
    let handle: WorkerHandle;
    try {
      handle = this.#host.spawn('lane', this.#location);
    } catch (cause) {
      port.close();
      this.#onLost(cause);
      throw cause;
    }
    this.handles.push(handle);
    return new Promise((resolve, reject) => {
      handle.onLost((cause) => {
        reject(cause);
        // a device that is closed lets its lanes go
        if (this.#ended || Atomics.load(controlWords(control), STATE) === STOPPED) return;
        // the worker may be waiting for this lane, deaf to anything else
        markLaneLost(control);
        this.#onLost(cause);
      });
      const ready = () => {
        handle.endpoint.removeEventListener('message', ready);
        resolve();
      };
      handle.endpoint.addEventListener('message', ready);
      handle.endpoint.postMessage({ port } satisfies LaneFirst, [port]);
    });
  }

  async terminate(): Promise<void> {
    this.#ended = true;
    await Promise.all(this.handles.map((handle) => handle.terminate()));
  }
}
