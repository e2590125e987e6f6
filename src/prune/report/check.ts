import { EspalierError } from '../../errors.ts';
import {
  type AnyRule,
  anything,
  byName,
  either,
  isOptions,
  listOf,
  nothing,
  oneOf,
  type Rule,
  real,
  refusal,
  text,
  truth,
  whole,
} from '../../options/rules.ts';
import { STRENGTH_REASONS } from '../choice/strength.ts';
import { MOMENTS } from '../proof/state.ts';

const finite = real(-Number.MAX_VALUE);
/** JSON has null for what is not finite. */
const number = either(finite, nothing);
const count = whole(0);
const name = text();

/** Members that have to be there, and may be beside others. */
function having(
  fields: Readonly<Record<string, AnyRule>>,
  perhaps: Readonly<Record<string, AnyRule>> = {},
): Rule<unknown> {
  const takes = `an object with ${Object.keys(fields).join(', ')}`;
  return {
    takes,
    check: (value, at) => {
      if (!isOptions(value)) throw refusal(at, value, takes);
      for (const [key, rule] of Object.entries(fields)) rule.check(value[key], `${at}.${key}`);
      for (const [key, rule] of Object.entries(perhaps)) {
        if (value[key] !== undefined) rule.check(value[key], `${at}.${key}`);
      }
      return value;
    },
  };
}

const side = having({ examples: count, digest: name }, { tokens: count });
const sides = having({ forget: number, retain: number });
const look = having(
  { look: count, epoch: number },
  { strength: number, forget: number, retain: number, distance: number, forgetQuality: number, utility: number },
);
const measure = having({ name, before: number, after: number }, { aim: either(number, nothing) });
const rested = byName(having({ steps: count, verified: count }));
const tokens = byName(having({ high: count, low: count }));
const split = having({
  ...{ q: number, cut: number, rule: oneOf('cut', 'percentile', 'fallback'), highest: number, tokens: count },
  ...{ asked: either(having({ cut: number, share: number }), nothing), percentile: number, high: count, share: number },
});
const distribution = having({
  ...{ mean: number, deviation: number, least: number, median: number, most: number },
  histogram: having({ width: number, counts: listOf(count) }),
  bimodality: either(having({ coefficient: number, uniform: number, skewness: number, kurtosis: number }), nothing),
});
const isolation = having({
  roles: listOf(having({ role: name, parameters: count, trained: byName(having({ steps: count, tokens })), rested })),
  base: having({ tensors: count, rested }),
  moments: listOf(having({ at: oneOf(...MOMENTS), step: count, base: name })),
  violations: listOf(having({ what: name, role: either(name, nothing), name, step: count, since: count })),
  holds: truth,
  closed: truth,
});

/** What a page reads of a report. */
const PARTS: Readonly<Record<string, AnyRule>> = {
  source: having({ name, digest: name }, { architecture: name, bytes: count }),
  request: name,
  earlier: listOf(name),
  experts: listOf(name),
  data: having({ forget: side, retain: side }),
  domains: listOf(having({ name, examples: count })),
  entropies: having({ split, distribution }),
  target: having({ source: name, probability: number }, { answers: count }),
  looks: listOf(listOf(look)),
  chosen: look,
  strength: having(
    { settled: finite, tried: listOf(having({ strength: finite, forget: number })) },
    { by: oneOf(...STRENGTH_REASONS) },
  ),
  gate: having(
    { accuracy: having({ none: number, experts: number }) },
    { tokens: having({ experts: count, none: count }) },
  ),
  measured: having({ forget: count, retain: count }),
  before: sides,
  after: sides,
  measures: listOf(measure),
  isolation,
  samples: listOf(
    having({
      side: oneOf('forget', 'retain'),
      audit: having({ texts: listOf(having({ tokens: listOf(anything) })), split }),
    }),
  ),
  parameters: count,
  steps: count,
  seconds: number,
  peakBytes: count,
  takeBack: listOf(name),
};

/** What a receipt has to have, so that a page and its measures can be made of it. */
const OF_RECEIPT: Readonly<Record<string, AnyRule>> = {
  request: name,
  earlier: listOf(name),
  before: sides,
  after: sides,
  distance: having({ before: number, after: number }),
  options: having({ q: real(0, 100, { above: true }) }),
};

/** @throws E_ARGUMENT for what no page can be made of */
export function checkReport(report: unknown): void {
  if (!isOptions(report)) throw refusal('The report', report, 'what PruneReport describes');
  for (const [key, rule] of Object.entries(PARTS)) {
    if (report[key] !== undefined || key === 'source' || key === 'data') rule.check(report[key], key);
  }
}

/** @param from the file, for messages @throws E_DATA_INVALID for what is not as `prune` writes it */
export function checkReceipt(receipt: Readonly<Record<string, unknown>>, from: string): void {
  try {
    checkReport(receipt);
    for (const [key, rule] of Object.entries(OF_RECEIPT)) rule.check(receipt[key], key);
  } catch (cause) {
    if (!(cause instanceof EspalierError)) throw cause;
    const hint = 'Give the folder as prune wrote it.';
    throw new EspalierError('E_DATA_INVALID', `${from}: ${cause.message}`, hint, { cause });
  }
}
