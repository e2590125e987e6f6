/** What the harness asks of a page, and what the page answers. */
export type EngineName = 'espalier' | 'wllama' | 'ort-web';

export interface LoadOptions {
  /** Address of the model. */
  readonly file: string;
  readonly threads: number;
  /** Positions that the cache must hold. */
  readonly context: number;
}

/** Token ids, and the text that gives them. */
export interface Prompt {
  readonly ids: readonly number[];
  readonly text: string;
}

/** One prompt and the greedy tokens after it. */
export interface Run {
  /** Seconds until the first token is known. */
  readonly prefill: number;
  /** Seconds from there, for as many tokens as were asked for: each is one pass through the model. */
  readonly decode: number;
  /** Seconds of the whole call for the page. */
  readonly elapsed: number;
  /** What came out: all engines give one of the two. */
  readonly ids: readonly number[] | null;
  readonly text: string | null;
}

/** An engine that is loaded, in its page. */
export interface PageEngine {
  readonly version: string;
  run(prompt: Prompt, decoded: number): Promise<Run>;
}

/** Microseconds of one call to the engine worker and its answer. */
export interface RoundTrip {
  readonly best: number;
  readonly median: number;
}

export const PHASES = ['idle', 'load', 'generation'] as const;
export type Phase = (typeof PHASES)[number];

/** What the page can tell of its own main thread. */
export interface Gaps {
  /** Milliseconds between two turns of a timer of 1 ms, at worst. */
  readonly worst: Readonly<Record<Phase, number>>;
  /** Durations of tasks that the browser itself calls long: above 50 ms. */
  readonly longTasks: readonly number[];
}

/** `globalThis.bench` of a page. */
export interface PageBench {
  load(name: EngineName, options: LoadOptions): Promise<string>;
  run(prompt: Prompt, decoded: number): Promise<Run>;
  roundTrip(): Promise<RoundTrip>;
  watch(file: string, lanes: number, prompt: Prompt, decoded: number): Promise<Gaps>;
}
