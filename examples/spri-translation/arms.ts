/** What is compared: how a dense model is grown before it is trained, and by which plan. */
import type { GrowRecipe } from '../../src/grow/plan/options.ts';

export interface Arm {
  readonly name: string;
  /** For the table. */
  readonly about: string;
  readonly kind: 'dense' | 'baseline' | 'spri' | 'control';
  /** Null: the dense model itself is trained. */
  readonly grow: GrowRecipe | null;
  /** Share of the steps in which gate and up of routed experts are frozen. */
  readonly tau: number;
}

/** Of every arm that is grown: E = 8, k = 2, and where SPRI's own values count the paper's. */
const COMMON = {
  experts: 8,
  topK: 2,
  target: 'espalier',
  anchor: 'shared',
  dtype: 'f32',
} as const satisfies GrowRecipe;

export const ARMS: readonly Arm[] = [
  { name: 'dense', about: 'dense fine-tuning', kind: 'dense', grow: null, tau: 0 },
  {
    name: 'naive',
    about: 'copies beside a shared copy, as published',
    kind: 'baseline',
    grow: { ...COMMON, method: 'naive' },
    tau: 0,
  },
  {
    name: 'naive-preserving',
    about: 'copies beside a shared copy, both halved',
    kind: 'baseline',
    grow: { ...COMMON, method: 'naive', preserve: 'function-preserving' },
    tau: 0,
  },
  {
    name: 'noise',
    about: 'copies with noise, as published',
    kind: 'baseline',
    grow: { ...COMMON, method: 'noise' },
    tau: 0,
  },
  {
    name: 'noise-scaled',
    about: 'copies with noise, each branch halved',
    kind: 'baseline',
    grow: { ...COMMON, method: 'noise', preserve: 'scaled' },
    tau: 0,
  },
  {
    name: 'drop',
    about: 'half of the neurons drawn anew, as published',
    kind: 'baseline',
    grow: { ...COMMON, method: 'drop' },
    tau: 0,
  },
  {
    name: 'drop-scaled',
    about: 'half drawn anew, each branch halved',
    kind: 'baseline',
    grow: { ...COMMON, method: 'drop', preserve: 'scaled' },
    tau: 0,
  },
  { name: 'spri', about: 'SPRI, two stages', kind: 'spri', grow: { ...COMMON, method: 'spri' }, tau: 0.1 },
  { name: 'spri-one-stage', about: 'SPRI, one stage', kind: 'spri', grow: { ...COMMON, method: 'spri' }, tau: 0 },
  {
    name: 'zero',
    about: 'control: routed down = 0',
    kind: 'control',
    grow: { ...COMMON, method: 'zero-delta' },
    tau: 0.1,
  },
  {
    name: 'gaussian',
    about: 'control: noise of the size of the slices',
    kind: 'control',
    grow: { ...COMMON, method: 'zero-delta', noise: { kind: 'relative', ratio: 1 } },
    tau: 0.1,
  },
  {
    name: 'scaled-copy',
    about: 'control: a copy times rho',
    kind: 'control',
    grow: { ...COMMON, method: 'scaled-copy' },
    tau: 0.1,
  },
  {
    name: 'random-basis',
    about: 'control: slices of a random basis',
    kind: 'control',
    grow: { ...COMMON, method: 'spri', partition: 'random-orthogonal' },
    tau: 0.1,
  },
];
