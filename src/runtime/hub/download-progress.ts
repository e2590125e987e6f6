/** In bytes. What an earlier run left counts as loaded. */
export interface DownloadProgress {
  readonly file: string;
  readonly loaded: number;
  /** Null while the server has not said. */
  readonly total: number | null;
  /** Over all files of the model; of an address that is no hub, over those known so far. */
  readonly overall: { readonly loaded: number; readonly total: number };
}

/** Milliseconds between two reports. */
const INTERVAL = 100;

/** Adds up what the files of one model have loaded, and reports it. */
export class Meter {
  readonly #listener: ((progress: DownloadProgress) => void) | undefined;
  readonly #files = new Map<string, { loaded: number; total: number | null }>();
  #last = Number.NEGATIVE_INFINITY;

  constructor(listener: ((progress: DownloadProgress) => void) | undefined) {
    this.#listener = listener;
  }

  /** A file that belongs to the model, before anything of it is loaded. */
  expect(file: string, total: number | null): void {
    if (!this.#files.has(file)) this.#files.set(file, { loaded: 0, total });
  }

  /** A file that was there already, or is there now. */
  have(file: string, size: number): void {
    this.#files.set(file, { loaded: size, total: size });
  }

  report(file: string, loaded: number, total: number | null): void {
    this.#files.set(file, { loaded, total });
    const now = performance.now();
    if (this.#listener === undefined || (loaded !== total && now - this.#last < INTERVAL)) return;
    this.#last = now;
    const overall = { loaded: 0, total: 0 };
    for (const each of this.#files.values()) {
      overall.loaded += each.loaded;
      overall.total += each.total ?? each.loaded;
    }
    this.#listener({ file, loaded, total, overall });
  }
}
