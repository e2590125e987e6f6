import { EspalierError } from '../../errors.ts';
import { checked, type Filled, filled } from '../../options/check.ts';
import { callback, defaulting, oneOf, real, type Schema, whole } from '../../options/rules.ts';
import { rateRule } from '../../train/schedule.ts';
import { RIVALS } from '../objective/rivals.ts';

/** Methods that `Unlearning` knows; docs/pruning.md has their losses. */
export const UNLEARNING_METHODS = [
  'grad-ascent',
  'grad-diff',
  'npo',
  'simnpo',
  'idk-dpo',
  'rmu',
  'undial',
  'wga',
  'satimp',
  'hinge',
] as const;
export type UnlearningMethod = (typeof UNLEARNING_METHODS)[number];

/** Of `Unlearning`. Where a default is the method's, docs/pruning.md has it. */
export interface UnlearningOptions {
  /** It has to be given. */
  readonly method: UnlearningMethod;
  /** Examples to forget of a step; it has as many to retain. Default 32. */
  readonly batch?: number;
  /** Most tokens of a pass; none of the sequences may be longer. Default 2048. */
  readonly rows?: number;
  /** How often it goes through what is to be forgotten. Default: the method's. */
  readonly epochs?: number;
  /** Learning rate; it rises from 0 in the first epoch, and stays. Default: the method's. */
  readonly rate?: number;
  /** Of AdamW, for matrices. Default 0.01. */
  readonly weightDecay?: number;
  /** Largest norm of a gradient. Default 1. */
  readonly clip?: number;
  /** Looks within an epoch. Default 6. */
  readonly looks?: number;
  /** Of the draws of examples. Default 0. */
  readonly seed?: number;
  /** Factor of the loss of what is to be forgotten. Default: the method's. */
  readonly forgetting?: number;
  /** Factor of the loss of what is kept; 0: nothing is. Default: the method's. */
  readonly retention?: number;
  /** Of NPO, SimNPO, IdkDPO and WGA. Default: the method's. */
  readonly beta?: number;
  /** Of SimNPO: the loss of a token that is enough. Default 0. */
  readonly delta?: number;
  /** Of SatImp: the power of p. Default 5. */
  readonly beta1?: number;
  /** Of SatImp: the power of 1 - p. Default 1. */
  readonly beta2?: number;
  /** Of UNDIAL: what is taken from the logit of the answer. Default 10. */
  readonly penalty?: number;
  /** Of RMU: hidden states behind which layer, from 0 on. Default 7. */
  readonly layer?: number;
  /** Of RMU: length of the target of what is to be forgotten. Default 2. */
  readonly coefficient?: number;
  /** By a parameter's name, whether it is trained. Default: all are, of RMU those of its layer and below. */
  readonly trains?: (name: string) => boolean;
}

const positive = real(0, Number.MAX_VALUE, { above: true });
const any = real(-Number.MAX_VALUE, Number.MAX_VALUE, { takes: 'a number' });

export const unlearningOptions = {
  method: oneOf(...UNLEARNING_METHODS),
  batch: defaulting(whole(1), 32),
  rows: defaulting(whole(1), 2048),
  epochs: whole(1),
  rate: rateRule,
  weightDecay: defaulting(real(0), 0.01),
  clip: defaulting(positive, 1),
  looks: defaulting(whole(1), 6),
  seed: defaulting(whole(0), 0),
  forgetting: positive,
  retention: real(0),
  beta: positive,
  delta: any,
  beta1: real(0),
  beta2: real(0),
  penalty: any,
  layer: whole(0),
  coefficient: real(0),
  trains: callback,
} as const satisfies Schema<UnlearningOptions>;

/** Factors that not every method has. */
const OWN = ['beta', 'delta', 'beta1', 'beta2', 'penalty', 'layer', 'coefficient'] as const;
type Own = (typeof OWN)[number];

/** Epochs and rate of each method, as open-unlearning and their authors have them. */
const TRAINED = {
  'grad-ascent': { epochs: 10, rate: 1e-5, ...RIVALS.gradAscent },
  'grad-diff': { epochs: 10, rate: 1e-5, ...RIVALS.gradDiff },
  npo: { epochs: 10, rate: 1e-5, ...RIVALS.npo },
  simnpo: { epochs: 10, rate: 1e-5, ...RIVALS.simNpo },
  'idk-dpo': { epochs: 10, rate: 1e-5, ...RIVALS.idkDpo },
  rmu: { epochs: 10, rate: 1e-5, ...RIVALS.rmu },
  undial: { epochs: 10, rate: 1e-4, ...RIVALS.undial },
  wga: { epochs: 5, rate: 1e-5, ...RIVALS.wga },
  satimp: { epochs: 5, rate: 1e-5, ...RIVALS.satImp },
  hinge: { epochs: 5, rate: 1e-4, ...RIVALS.hinge },
} as const satisfies Record<UnlearningMethod, { epochs: number; rate: number; forget: number; retain: number }>;

type Given = Filled<UnlearningOptions, typeof unlearningOptions>;

/** A method with its factors. */
export type MethodSettings = {
  readonly [M in UnlearningMethod]: { readonly method: M } & FactorsOf<M>;
}[UnlearningMethod];
type FactorsOf<M extends UnlearningMethod> = { readonly [K in keyof (typeof TRAINED)[M]]: number };

/** Options with the defaults of their method in the gaps. */
export interface UnlearningSettings extends Omit<Given, Own | 'method' | 'forgetting' | 'retention'> {
  readonly epochs: number;
  readonly rate: number;
  readonly of: MethodSettings;
}

/** @throws E_ARGUMENT for wrong options, no method, and a factor that the method has not */
export function unlearningSettings(options: UnlearningOptions): UnlearningSettings {
  const given = filled(unlearningOptions, checked<UnlearningOptions>(unlearningOptions, options, 'Unlearning'));
  const { method, forgetting, retention, beta, delta, beta1, beta2, penalty, layer, coefficient, ...common } = given;
  unlearningOptions.method.check(method, 'method');
  const defaults: Readonly<Record<string, number>> = TRAINED[method];
  const own = { beta, delta, beta1, beta2, penalty, layer, coefficient } satisfies Record<Own, number | undefined>;
  const foreign = OWN.find((name) => own[name] !== undefined && !(name in defaults));
  if (foreign !== undefined) {
    const has = OWN.filter((name) => name in defaults);
    throw new EspalierError(
      'E_ARGUMENT',
      `${method} has no ${foreign}.`,
      has.length === 0 ? 'It takes no factors of its own.' : `It takes ${has.join(', ')}.`,
    );
  }
  const chosen = Object.fromEntries(
    Object.entries({ ...own, forget: forgetting, retain: retention }).filter(([, value]) => value !== undefined),
  );
  const { epochs, rate, ...factors } = { ...defaults, ...chosen };
  return {
    ...common,
    epochs: common.epochs ?? epochs!,
    rate: common.rate ?? rate!,
    of: { method, ...factors } as unknown as MethodSettings,
  };
}
