import { EspalierError } from '../errors.ts';
import type { AdapShotOptions } from './options.ts';
import { QUESTION } from './question-probe.ts';
import type { PoolOptions, Preset } from './types.ts';

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
export type ShowSettings = Omit<AdapShotOptions, Settled> & Required<Pick<AdapShotOptions, Settled>>;

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
} as const satisfies Record<Preset, Pick<Required<AdapShotOptions>, Settled>>;

/**
 * What `label` has otherwise over a chain, where shots are not the nearest ones: more of them help, and a number of them that prefers some
 * labels spoils an average.
 */
const CHAINED = { grid: { kind: 'geometric', first: 4 }, ensemble: 'one', vote: null } as const;

/** How a pool for a preset is built. */
export function poolOptionsOf(preset: Preset): Pick<PoolOptions, 'prefix'> {
  return { prefix: preset === 'generate' ? { repair: 1 } : 'bare' };
}

/** All options of a preset, with those given. @throws E_ARGUMENT */
export function settingsOf(options: AdapShotOptions, chained = false): ShowSettings {
  const refuse = (what: string, hint: string): never => {
    throw new EspalierError('E_ARGUMENT', what, hint);
  };
  const preset: Pick<Required<AdapShotOptions>, Settled> | undefined = PRESETS[options.preset];
  if (!preset) refuse(`preset is ${String(options.preset)}.`, "Give 'parity', 'label' or 'generate'.");
  // an explicit undefined is none
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const usual = chained && options.preset === 'label' ? { ...preset, ...CHAINED } : preset;
  const settings = { ...usual, ...given } as ShowSettings;
  const { entropy, threshold, leastMass, labels, fallback, scoring, ensemble, vote } = settings;
  if (!['label', 'raw-nats', 'two-way-nats', 'two-way-bits'].includes(entropy)) {
    refuse(`entropy is ${String(entropy)}.`, "Give 'label', 'raw-nats', 'two-way-nats' or 'two-way-bits'.");
  }
  if ((entropy === 'label' || settings.preset === 'label') && !labels) {
    refuse('There are no labels.', 'Give them, or use the preset generate.');
  }
  if (!(threshold >= 0)) refuse(`threshold is ${String(threshold)}.`, 'Give a number from 0 on.');
  if (!(leastMass >= 0 && leastMass <= 1)) refuse(`leastMass is ${String(leastMass)}.`, 'Give a number from 0 to 1.');
  if (scoring !== 'sum' && scoring !== 'greedy') refuse(`scoring is ${String(scoring)}.`, "Give 'sum' or 'greedy'.");
  if (ensemble !== 'one' && ensemble !== 'all') refuse(`ensemble is ${String(ensemble)}.`, "Give 'one' or 'all'.");
  if (
    vote &&
    !(Number.isSafeInteger(vote.neighbours) && vote.neighbours > 0 && vote.weight >= 0 && vote.weight < 1e3)
  ) {
    refuse(
      `vote is ${JSON.stringify(vote)}.`,
      'Give { neighbours, weight }: a count from 1 on, and a weight from 0 on.',
    );
  }
  const fixed = typeof fallback === 'object' && Number.isSafeInteger(fallback.shots) && fallback.shots >= 0;
  if (fallback !== 'most' && fallback !== 'least-entropy' && !fixed) {
    refuse(`fallback is ${JSON.stringify(fallback)}.`, "Give 'most', 'least-entropy' or { shots }.");
  }
  const { bias } = settings.calibration ?? { bias: null };
  if (bias && Object.values(bias).some((list) => list.length !== labels?.length)) {
    refuse('The calibration has a bias for other labels.', 'Calibrate again for these labels.');
  }
  return settings;
}
