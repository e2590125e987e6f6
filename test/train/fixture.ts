import { readJson } from '../files.ts';

export interface Run {
  readonly frozen: readonly string[];
  readonly until: number;
  readonly losses: readonly number[];
  readonly norms: readonly number[];
  readonly heldOut: number;
  readonly weights: Readonly<Record<'embed' | 'head' | 'bias', readonly number[]>>;
}

interface Tokens {
  readonly ids: readonly number[];
  readonly targets: readonly number[];
}

/** What test/oracles/train.py writes. */
export interface Fixture {
  readonly schedules: readonly {
    readonly kind: string;
    readonly warmup: number;
    readonly steps: number;
    readonly peak: number;
    readonly rates: readonly number[];
  }[];
  readonly training: {
    readonly vocab: number;
    readonly width: number;
    readonly steps: number;
    readonly warmup: number;
    readonly peak: number;
    readonly decay: number;
    readonly clip: number;
    readonly start: Run['weights'];
    readonly batches: readonly (readonly Tokens[])[];
    readonly heldOut: Tokens;
    readonly runs: readonly Run[];
  };
}

export const fixture = (): Promise<Fixture> => readJson('test/fixtures/train.json');
