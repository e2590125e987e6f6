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
  | 'ridge'
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
  ridge: null,
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
 * `parity` is section 9 of the specification. `label` is what came out best on training queries of five data sets (docs/showing.md has the table): what
 * ridge regression of the pool and the nearest shots' labels say, and where that is not sure, few of the shots of the labels in play, keys at section
 * 10's temperature, all counts averaged. Ranking by keys is centred in `generate`, because without that it is hardly better than chance.
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
    rank: 'contrast',
    grid: { kind: 'geometric', first: 2, most: 8 },
    entropy: 'label',
    temperature: 0.8,
    scoring: 'sum',
    ensemble: 'all',
    vote: { neighbours: 32, weight: 0.5 },
    ridge: { weight: 1, modelWeight: 0.3, candidates: 8 },
    threshold: 0.6,
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

/** What `label` has otherwise without ridge regression: chosen on training queries of TREC. */
const WITHOUT_RIDGE = {
  rank: 'hybrid',
  grid: { kind: 'geometric', first: 2, most: 16 },
  vote: { neighbours: 32, weight: 1 },
  ridge: null,
  threshold: 0.3,
} as const;

/**
 * What `label` has otherwise over a chain, where shots are not the nearest ones: more of them help, and a number of them that prefers some
 * labels spoils an average.
 */
const CHAINED = { ...WITHOUT_RIDGE, grid: { kind: 'geometric', first: 4 }, ensemble: 'one', vote: null } as const;

/** How a pool for a preset is built. */
export function poolOptionsOf(preset: Preset): Pick<PoolOptions, 'prefix'> {
  showOptions.preset.check(preset, 'preset');
  return { prefix: prefixOf(preset) };
}

/**
 * All options of a preset, with those given. Averages and votes are of distributions over labels, so without those they are only what is
 * asked for in words: token by token (`greedy`) there is no distribution, and a yes-or-no question is asked beside it.
 * @param source a chain, or a pool whose shots were cached in blocks, or each alone
 * @throws E_ARGUMENT
 */
export function settingsOf(options: ShowOptions, source: 'chain' | 'blocks' | 'pool' = 'pool'): ShowSettings {
  const given: Partial<ShowOptions> = checked<ShowOptions>(showOptions, options, 'Show.create()');
  if (given.preset === undefined) refuse('There is no preset.', "Give 'parity', 'label' or 'generate'.");
  const preset: Pick<Required<ShowOptions>, Settled> = PRESETS[given.preset];
  // what was fitted goes before what is given
  const regressed = given.calibration ? given.calibration.ridge : given.ridge;
  const greedy = (given.scoring ?? preset.scoring) === 'greedy' || (given.entropy ?? preset.entropy) !== 'label';
  const without =
    source === 'chain' ? CHAINED : source === 'blocks' || greedy || regressed === null ? WITHOUT_RIDGE : {};
  const usual = given.preset === 'label' ? { ...preset, ...without } : preset;
  const wanted = { ...usual, ...given } as ShowSettings;
  const plain: { ensemble?: 'one'; vote?: null } = {
    ...(given.ensemble === undefined &&
      (wanted.scoring === 'greedy' || wanted.entropy !== 'label') && { ensemble: 'one' }),
    ...(given.vote === undefined && wanted.scoring === 'greedy' && { vote: null }),
  };
  const settings = { ...wanted, ...plain, ...(given.calibration && { ridge: given.calibration.ridge }) };
  check(settings, source);
  const { calibration, labels, scoring } = settings;
  if (!calibration) return settings;
  const { threshold, fallback, vote, ridge, bias } = calibration;
  check({ ...settings, threshold, fallback, vote, ridge }, source);
  const known = JSON.stringify(calibration.labels) === JSON.stringify(labels);
  const lists: (readonly number[])[] = Object.values(bias ?? {});
  if (!known || !lists.every((list) => list.length === labels?.length)) {
    refuse('The calibration is of other labels, or of another order of them.', 'Calibrate for these labels.');
  }
  if (bias && scoring === 'greedy') refuse('A bias cannot be taken off token by token.', "Score by 'sum'.");
  return settings;
}

/** What depends on several options. */
function check(settings: ShowSettings, source: 'chain' | 'blocks' | 'pool'): void {
  const { preset, entropy, labels, scoring, ensemble, vote, ridge, rank, grid } = settings;
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
  if (ridge && (!labels || scoring === 'greedy' || entropy !== 'label')) {
    refuse(
      'Ridge regression counts beside distributions over labels alone.',
      "Give labels, entropy 'label' and scoring 'sum', or ridge null.",
    );
  }
  if (ridge && source !== 'pool') {
    refuse(
      `Ridge regression compares shots that were cached alone, and these are in ${source === 'chain' ? 'a chain' : 'blocks'}.`,
      'Give another pool, or ridge null.',
    );
  }
  if (rank === 'contrast' && !ridge) {
    refuse("The ranking 'contrast' goes by ridge regression.", "Give ridge, or rank by 'hybrid'.");
  }
  roundsOf(grid, 1);
}

function refuse(what: string, hint: string): never {
  throw new EspalierError('E_ARGUMENT', what, hint);
}
