import { EspalierError } from '../../errors.ts';
import { checked } from '../../options/check.ts';
import type { PoolOptions } from '../pool/options.ts';
import { QUESTION } from '../probe/question-probe.ts';
import type { Preset } from '../types.ts';
import { roundsOf } from './grid.ts';
import { type ShowOptions, showOptions } from './options.ts';
import { prefixOf } from './prefix.ts';

type Settled =
  | 'order'
  | 'temperature'
  | 'scoring'
  | 'ensemble'
  | 'vote'
  | 'rank'
  | 'grid'
  | 'entropy'
  | 'threshold'
  | 'leastMass'
  | 'onlyYes'
  | 'fallback'
  | 'question'
  | 'prompt'
  | 'maxTokens'
  | 'stop'
  | 'sampling';

/** Options with nothing left open. */
export type ShowSettings = Omit<ShowOptions, Settled> & Required<Pick<ShowOptions, Settled>>;

const COMMON = {
  ensemble: 'one',
  vote: null,
  order: 'best-first',
  temperature: 1,
  leastMass: 0,
  onlyYes: false,
  fallback: 'least-entropy',
  threshold: 0.65,
  question: QUESTION,
  prompt: ':',
  maxTokens: 256,
  stop: ['\n\n'],
  sampling: {},
} as const;

/**
 * `parity` is section 9 of the specification. `label` is what came out best on development items of TREC (docs/showing.md has the table):
 * ranking by words and keys, few of the nearest shots, keys at section 10's temperature, all counts averaged, and the nearest shots'
 * labels voting. Ranking by keys is centred in `generate`, because without that it is hardly better than chance.
 */
const PRESETS = {
  parity: {
    ...COMMON,
    rank: 'keys',
    grid: { kind: 'arithmetic', step: 4, perRound: 4 },
    entropy: 'raw-nats',
    leastMass: 0.5,
    scoring: 'greedy',
  },
  label: {
    ...COMMON,
    rank: 'hybrid',
    grid: { kind: 'geometric', first: 2, most: 16 },
    entropy: 'label',
    temperature: 0.8,
    scoring: 'sum',
    ensemble: 'all',
    vote: { neighbours: 32, weight: 1 },
    threshold: 0.3,
    fallback: 'most',
  },
  generate: {
    ...COMMON,
    rank: 'keys-centred',
    grid: { kind: 'geometric', first: 4 },
    entropy: 'two-way-nats',
    onlyYes: true,
    scoring: 'sum',
  },
} as const satisfies Record<Preset, Pick<Required<ShowOptions>, Settled>>;

/**
 * What `label` has otherwise over a chain, where shots are not the nearest ones: more of them help, and a number of them that prefers some
 * labels spoils an average.
 */
const CHAINED = { grid: { kind: 'geometric', first: 4 }, ensemble: 'one', vote: null } as const;

/** How a pool for a preset is built. */
export function poolOptionsOf(preset: Preset): Pick<PoolOptions, 'prefix'> {
  showOptions.preset.check(preset, 'preset');
  return { prefix: prefixOf(preset) };
}

/**
 * All options of a preset, with those given. Averages and votes are of distributions over labels, so without those they are only what is
 * asked for in words: token by token (`greedy`) there is no distribution, and a yes-or-no question is asked beside it.
 * @param chained over a chain
 * @throws E_ARGUMENT
 */
export function settingsOf(options: ShowOptions, chained = false): ShowSettings {
  const given: Partial<ShowOptions> = checked<ShowOptions>(showOptions, options, 'Show.create()');
  if (given.preset === undefined) refuse('There is no preset.', "Give 'parity', 'label' or 'generate'.");
  const preset: Pick<Required<ShowOptions>, Settled> = PRESETS[given.preset];
  const usual = chained && given.preset === 'label' ? { ...preset, ...CHAINED } : preset;
  const wanted = { ...usual, ...given } as ShowSettings;
  const plain: { ensemble?: 'one'; vote?: null } = {
    ...(given.ensemble === undefined &&
      (wanted.scoring === 'greedy' || wanted.entropy !== 'label') && { ensemble: 'one' }),
    ...(given.vote === undefined && wanted.scoring === 'greedy' && { vote: null }),
  };
  const settings = { ...wanted, ...plain };
  check(settings);
  const { calibration, labels, scoring } = settings;
  if (!calibration) return settings;
  const { threshold, fallback, vote, bias } = calibration;
  check({ ...settings, threshold, fallback, vote });
  const known = JSON.stringify(calibration.labels) === JSON.stringify(labels);
  const lists: (readonly number[])[] = Object.values(bias ?? {});
  if (!known || !lists.every((list) => list.length === labels?.length)) {
    refuse('The calibration is of other labels, or of another order of them.', 'Calibrate for these labels.');
  }
  if (bias && scoring === 'greedy') refuse('A bias cannot be taken off token by token.', "Score by 'sum'.");
  return settings;
}

/** What depends on several options. */
function check({ preset, entropy, labels, scoring, ensemble, vote, grid }: ShowSettings): void {
  if ((entropy === 'label' || preset === 'label') && !labels) {
    refuse('There are no labels.', 'Give them, or use the preset generate.');
  }
  if (ensemble === 'all' && (entropy !== 'label' || scoring === 'greedy')) {
    refuse(
      'Only distributions over labels are averaged.',
      "Give ensemble 'one', or entropy 'label' and scoring 'sum'.",
    );
  }
  if (vote && scoring === 'greedy') {
    refuse('A vote has no part in greedy scoring.', "Score by 'sum', or give vote null.");
  }
  roundsOf(grid, 1);
}

function refuse(what: string, hint: string): never {
  throw new EspalierError('E_ARGUMENT', what, hint);
}
