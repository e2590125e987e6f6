import type { WrittenRouted } from '../../checkpoint/adapter/routed-write.ts';
import { highestEntropy, ROUTING_RULE } from '../../checkpoint/adapter/routing.ts';
import { checkedScale } from '../../checkpoint/adapter/scale.ts';
import type { ModelConfig } from '../../checkpoint/types.ts';
import { EspalierError } from '../../errors.ts';
import { filled } from '../../options/check.ts';
import { loraSites } from '../../train/lora-sites.ts';
import type { ForgetMask, ForgetObjective } from '../edit/batches.ts';
import { twoPhaseOptions } from '../edit/options.ts';
import { CUT } from '../entropy/options.ts';
import { type PruneRecipe, pruneOptions } from '../options.ts';

/** Tokens of a sequence, unless told otherwise: the context of a model may be far more than there is memory for. */
const MOST_TOKENS = 1024;

/** What goes well with each objective. */
interface ObjectiveDefaults {
  readonly mask: ForgetMask;
  readonly epochs: number;
  /** Steps in which an expert forgets, at least: what 400 examples have in these epochs. An epoch of few examples has next to none. */
  readonly steps: number;
}

const DEFAULTS: Readonly<Record<ForgetObjective, ObjectiveDefaults>> = {
  hinge: { mask: 'low', epochs: 3, steps: 75 },
  // it ends where all is forgotten
  base: { mask: 'all', epochs: 6, steps: 150 },
};

/** Options with their defaults: what is told of a job, and what tells it from another. */
export type PrunePlan = ReturnType<typeof resolved>;

/**
 * @throws E_ARGUMENT for options that contradict each other or an earlier adapter
 */
export function planOf(
  given: PruneRecipe,
  { config, earlier }: { readonly config: ModelConfig; readonly earlier: WrittenRouted | null },
): PrunePlan {
  const refuse = (what: string, hint: string): never => {
    throw new EspalierError('E_ARGUMENT', what, hint);
  };
  const plan = resolved(given, config, earlier);
  if (plan.objective !== 'hinge' && given.base === undefined) {
    refuse(`The objective is ${plan.objective}, and there is no base.`, 'Give the base, or `objective: "hinge"`.');
  }
  const { request, rank, alpha, maxTokens, rows } = plan;
  if (earlier) {
    const names = [...new Set(earlier.experts.map((expert) => expert.request))];
    if (names.includes(request)) {
      refuse(`The earlier adapter has a request ${JSON.stringify(request)}.`, 'Give this one another name.');
    }
    if (given.rank !== undefined && given.rank !== earlier.rank) {
      refuse(`rank is ${given.rank}, and that of the earlier adapter ${earlier.rank}.`, 'Leave it out: A is shared.');
    }
    if (given.gate !== undefined && given.gate !== earlier.gate.kind) {
      refuse(`gate is ${given.gate}, and that of the earlier adapter ${earlier.gate.kind}.`, 'Leave it out.');
    }
    if (given.path !== undefined || given.alignment !== undefined || given.routeCut !== undefined) {
      refuse('`path`, `alignment` and `routeCut` are those of the earlier adapter.', 'Leave them out.');
    }
    if (given.schedule === 'interleaved') {
      refuse('`schedule` is interleaved, and A is that of the earlier adapter: it rests.', 'Leave it out.');
    }
    if (given.alpha !== undefined || given.targets !== undefined) {
      refuse('`alpha` and `targets` are those of the earlier adapter.', 'Leave them out.');
    }
  }
  if (given.schedule === 'interleaved' && (given.structureSteps ?? 0) > 0) {
    refuse('`schedule` is interleaved, and there is no Phase I.', 'Leave `structureSteps` out, or `schedule`.');
  }
  if (request.trim() === '' || request.length > 150) {
    refuse(`The request is called ${JSON.stringify(request.slice(0, 40))}.`, 'Give a name of 1 to 150 characters.');
  }
  const { cut, order } = plan.rule;
  const highest = highestEntropy(order, config.vocabSize);
  if (!earlier && cut !== null && cut >= highest) {
    refuse(
      `No position is high for the rule: no entropy of order ${order} over ${config.vocabSize} tokens is above ${highest.toFixed(4)}, and its cut is ${cut}.`,
      `Give \`routeCut\` below ${highest.toFixed(4)}, or a smaller \`q\`.`,
    );
  }
  checkedScale({ rank, alpha, rslora: false });
  if (rows < maxTokens) {
    refuse(`rows is ${rows}, and a sequence may have ${maxTokens} tokens.`, 'Give more rows, or a lower `maxTokens`.');
  }
  return plan;
}

function resolved(given: PruneRecipe, config: ModelConfig, earlier: WrittenRouted | null) {
  const all = filled(pruneOptions, given);
  const { batch, rate, forgetting, retention, clip, looks, seed, structureOrder, invariance } = all;
  const {
    gateSteps,
    gateTokens,
    gateRounds,
    gateUnits,
    strengths,
    measured,
    domains,
    q,
    fallback,
    sharedRate,
    gate,
    path,
    alignment,
    regulariser,
  } = all;
  const objective = given.objective ?? (given.base === undefined ? 'hinge' : 'base');
  const own = DEFAULTS[objective];
  const maxTokens = given.maxTokens ?? Math.min(config.maxPositions, MOST_TOKENS);
  const rank = earlier?.rank ?? all.rank;
  return {
    request: given.request ?? unused(earlier),
    ...{ domains, rank, alpha: earlier ? earlier.scale * earlier.rank : (given.alpha ?? rank) },
    targets: earlier ? targetsOf(config, earlier) : (given.targets ?? null),
    ...{ q, cut: given.cut ?? null, percentile: given.percentile ?? null, fallback, maxTokens },
    ...{ long: all.long, end: all.end, specialTokens: all.specialTokens, apart: given.apart ?? 'question' },
    rows: given.rows ?? Math.max(twoPhaseOptions.rows.default, maxTokens),
    ...{
      batch,
      sharedRate,
      rate,
      forgetting,
      retention,
      regulariser,
      invariance,
      clip,
      looks,
      seed,
      structureOrder,
    },
    // what an earlier request shares with this one stays as it is
    schedule: earlier ? ('phases' as const) : all.schedule,
    structureSteps: earlier || all.schedule === 'interleaved' ? 0 : all.structureSteps,
    retains: earlier === null,
    enough: given.enough ?? null,
    ...{ objective, mask: given.mask ?? own.mask, epochs: given.epochs ?? own.epochs },
    ...{
      strengths: [...strengths],
      measured,
      gate: earlier?.gate.kind ?? gate,
      gateSteps,
      gateTokens,
      gateRounds,
      gateUnits,
    },
    rule: earlier?.rule ?? {
      ...ROUTING_RULE,
      path,
      alignment,
      order: q,
      cut: all.routeCut ?? (path === 'tr' ? CUT : null),
    },
  };
}

/**
 * Epochs, unless they were given: of few examples as many as an expert needs to have its steps, with as many looks in all, which would take most of
 * the time otherwise.
 * @param sequences to forget @param experts that share them
 */
export function withEpochs(
  plan: PrunePlan,
  given: PruneRecipe,
  { sequences, experts }: { readonly sequences: number; readonly experts: number },
): PrunePlan {
  if (given.epochs !== undefined) return plan;
  const { epochs, steps } = DEFAULTS[plan.objective];
  const each = Math.max(1, Math.ceil(sequences / experts / plan.batch));
  const needed = Math.max(epochs, Math.ceil(steps / each));
  const looks = given.looks ?? (plan.looks * epochs) / needed;
  return { ...plan, epochs: needed, looks };
}

/** The next number of a request: some may have been taken back, and others have names of their own. */
function unused(earlier: WrittenRouted | null): string {
  const names = new Set(earlier?.experts.map(({ request }) => request));
  let number = names.size + 1;
  while (names.has(`request-${number}`)) number++;
  return `request-${number}`;
}

/** Ends of the names of the layers that an adapter is for. */
function targetsOf(config: ModelConfig, { factors }: WrittenRouted): string[] {
  const found = new Set(factors.map(({ layer, part }) => `${layer} ${part}`));
  const own = loraSites(config, null).filter(({ target: { layer, part } }) => found.has(`${layer} ${part}`));
  return [...new Set(own.map(({ prefix }) => /([^.]+)\.lora_$/.exec(prefix)![1]!))];
}
