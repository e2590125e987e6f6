/** A report of a pruning with everything that one can have: numbers as a scout saw them on a model of TOFU. */
import type { AuditedToken, EntropyAudit } from '../../src/prune/entropy/audit.ts';
import { distributionOf } from '../../src/prune/entropy/distribution.ts';
import { auditedRouting } from '../../src/prune/entropy/experts.ts';
import { splitEntropies } from '../../src/prune/entropy/split.ts';
import { isolationReceipt } from '../../src/prune/proof/receipt.ts';
import type { IsolationState } from '../../src/prune/proof/state.ts';
import type { PruneReport, ReportedLook } from '../../src/prune/report/report.ts';

/** One of 64 hexadecimal digits. */
export const digest = (digit: string): string => digit.repeat(64);

export const STATE: IsolationState = {
  version: 1,
  kinds: {
    structure: {
      steps: 50,
      tokens: { 'forget-1': { high: 800, low: 0 }, retain: { high: 6400, low: 0 } },
      gradient: ['shared', 'retain'],
    },
    'forget-1': { steps: 39, tokens: { 'forget-1': { high: 0, low: 12040 } }, gradient: ['forget-1'] },
    retain: { steps: 40, tokens: { retain: { high: 9000, low: 36000 } }, gradient: ['retain'] },
  },
  moments: [
    { at: 'begin', step: 0, base: digest('b'), roles: {} },
    { at: 'switch', step: 50, base: digest('b'), roles: {} },
    { at: 'end', step: 129, base: digest('b'), roles: {} },
  ],
  verified: {
    base: { structure: 50, 'forget-1': 39, retain: 40 },
    shared: { 'forget-1': 39, retain: 40 },
    retain: { 'forget-1': 1 },
    'forget-1': { structure: 50, retain: 1 },
  },
  since: { factors: {}, base: {} },
  last: { step: { factors: 129, base: 129 }, factors: {}, base: {} },
  violations: [],
};
const FACTORS = (['shared', 'retain', 'forget-1'] as const).map((role) => ({ role, shape: [8, 1000] }));
export const isolationOf = (state: IsolationState) => isolationReceipt(state, FACTORS, 57);

export const LOOKS: readonly (readonly ReportedLook[])[] = Array.from({ length: 6 }, (_, i) => {
  const forget = 10 ** -(i / 2);
  const own = { look: i + 1, epoch: (i + 1) / 6, forget, retain: 0.98 - i / 1000, distance: 5 - i };
  return i < 4 ? [own] : [own, { ...own, strength: 0.8, forget: forget ** 0.8 }];
});

export function sampleOf(expert: string): EntropyAudit {
  const token = (text: string, entropy: number, coefficient: number): AuditedToken => ({
    ...{ id: 1, text, entropy, high: entropy > 1.2, counts: true, logprob: -1, top: [{ id: 2, text, logprob: -1 }] },
    routing: auditedRouting({
      probabilities: [1 - coefficient, coefficient],
      coefficients: [coefficient],
      entropy,
      high: false,
    }),
  });
  const values = [0.1, 1.5, 0.3, 0.2];
  return {
    model: 'm',
    experts: [expert],
    split: splitEntropies(values, 512, { fallback: false }),
    distribution: distributionOf(values),
    texts: [
      {
        name: null,
        tokens: ['Who', ' is', ' Anna', ' Smith'].map((text, i) => token(text, values[i]!, i > 1 ? 1 : 0)),
      },
    ],
  };
}

export function fullReport(): PruneReport {
  const { split, distribution } = sampleOf('authors');
  return {
    source: { name: 'nano-tofu-full', architecture: 'llama', bytes: 2 ** 23, digest: digest('a') },
    request: 'authors',
    earlier: ['places'],
    experts: ['authors'],
    data: {
      forget: { examples: 400, tokens: 18230, digest: digest('f') },
      retain: { examples: 3600, tokens: 165000, digest: digest('e') },
    },
    domains: [{ name: 'authors of ten books', examples: 400 }],
    entropies: { split, distribution },
    target: { source: 'reference', probability: 0.0043, answers: 400 },
    looks: LOOKS,
    chosen: LOOKS[4]![1]!,
    strength: {
      settled: 0.913,
      tried: [
        { strength: 0.9, forget: 0.0102 },
        { strength: 0.913, forget: 0.00972 },
      ],
    },
    gate: { accuracy: { experts: 0.9991, none: 0.9978 }, tokens: { experts: 15000, none: 60000 } },
    measured: { forget: 400, retain: 200 },
    before: { forget: 0.983, retain: 0.982 },
    after: { forget: 0.00487, retain: 0.976 },
    measures: [
      { name: 'answers to be kept', before: 0.982, after: 0.976, aim: 0.982 },
      { name: 'forget quality', before: 2.8e-20, after: 0.37, aim: 1 },
      { name: 'forget10: perplexity of answers', before: 31.4, after: 29.2 },
    ],
    isolation: isolationOf(STATE),
    samples: [
      { side: 'forget', audit: sampleOf('authors') },
      { side: 'retain', audit: sampleOf('authors') },
    ],
    parameters: 24000,
    steps: 129,
    seconds: 731,
    peakBytes: 2 ** 28,
    takeBack: ['espalier prune --undo would be said here'],
  };
}
