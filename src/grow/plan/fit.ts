import type { ModelConfig, StoredType } from '../../checkpoint/types.ts';
import { EspalierError } from '../../errors.ts';
import { rounded } from '../digits.ts';
import { TARGET_NAMES } from '../targets/names.ts';
import type { GgufTarget } from '../targets/target.ts';
import { targetOf } from '../targets/targets.ts';
import { hintFor, nameOf, type Trait, traitsOf } from '../targets/traits.ts';
import type { GrowPlan, OutputType, TargetName } from '../types.ts';
import { isCorrection, rhoOf } from './rules.ts';

/** A plan that a layout of checkpoints can carry: everything that was left open is decided. */
export interface Fit {
  readonly target: TargetName;
  /** Layers that become mixtures, ascending. */
  readonly layers: readonly number[];
  /** Of all tensors that are written. */
  readonly type: OutputType;
  /** The output matrix is stored beside an embedding that it was tied to. */
  readonly untie: boolean;
  /** Every entry of the shared expert's gate row, where the target has one; 0 makes sigmoid(x · gate) 1/2 exactly. */
  readonly sharedGate: number;
  /** Whether the weights of a token's experts are divided by their sum, as the method has it. */
  readonly renormalise: boolean;
  /** What was decided or given up, and why, a sentence each. */
  readonly notes: readonly string[];
}

/** Below it a folded correction is lost in the rounding of W + correction: cosine 0.99 between what is meant and what is left. */
const LEAST_RHO: Readonly<Record<OutputType, number>> = { bf16: 1e-2, f16: 1.25e-3, f32: 0 };

/**
 * Decides target, element type and layers for a dense model, and refuses what would not be exact.
 *
 * @param stored element type of the source's feed-forward weights
 * @throws E_TARGET with a sentence why
 */
export function fitTarget(
  config: ModelConfig,
  stored: StoredType,
  plan: GrowPlan,
  layers: readonly number[],
  options: { readonly gguf?: boolean } = {},
): Fit {
  if (config.moe !== null) throw unfit('The model is a mixture of experts already.', 'Grow a dense model.');
  if (layers.length === 0) throw unfit('No layer is chosen.', 'Choose `layers` that the model has.');
  const asked: Asked = { traits: traitsOf(config), anchor: plan.anchor, all: layers.length === config.nLayers };
  for (const trait of asked.traits) {
    if (TARGET_NAMES.some((name) => targetOf(name).holds.includes(trait))) continue;
    throw unfit(`No target holds this model exactly: none has any ${nameOf(trait)}.`, hintFor(trait));
  }
  const notes: string[] = [];
  const target = plan.target === 'auto' ? chosen(asked) : plan.target;
  const { gguf, reason } = targetOf(target);
  if (plan.target === 'auto') notes.push(`Target ${target}: ${reason}`);
  const against = refusal(target, asked);
  if (against !== null) throw inexact(against.why, hintOf(against.change, asked));
  const adapted = options.gguf ? adapt(gguf, plan, config, asked.all) : null;
  if (adapted) notes.push('Fit for conversion to GGUF: experts in every layer.');

  const type = typeOf(stored, plan, notes);
  if (adapted) notes.push(...adapted.notes);
  if (isCorrection(plan.method)) notes.push(...remarks(plan));
  const { untie = false, sharedGate = 0, renormalise = true } = adapted ?? {};
  return { target, layers, type, untie, sharedGate, renormalise, notes };
}

/** What a target is asked to hold. */
interface Asked {
  readonly traits: ReadonlySet<Trait>;
  readonly anchor: GrowPlan['anchor'];
  /** Whether every layer is to have experts. */
  readonly all: boolean;
}

/** Why a target does not hold it, and what of the plan could be changed. */
interface Refusal {
  readonly why: string;
  readonly change: string | null;
}

function refusal(name: TargetName, { traits, anchor, all }: Asked): Refusal | null {
  const target = targetOf(name);
  if (target.shared === 'always' && anchor !== 'shared') {
    return { why: `${name} has a shared expert`, change: 'Use `anchor: shared`' };
  }
  if (target.shared === 'never' && anchor === 'shared') {
    return { why: `${name} has no shared expert`, change: 'Use `anchor: folded`' };
  }
  if (target.everyLayer && !all) {
    return { why: `${name} has experts in every layer`, change: 'Grow every layer (`layers`)' };
  }
  for (const [trait, why] of Object.entries(target.needs ?? {})) {
    if (!traits.has(trait as Trait)) return { why: `${name} ${why}`, change: null };
  }
  const lacking = [...traits]
    .filter((trait) => !target.holds.includes(trait))
    .map((trait) => target.lacks?.[trait] ?? `has no ${nameOf(trait)}`);
  return lacking.length === 0 ? null : { why: `${name} ${lacking.join(' and ')}`, change: null };
}

/** The first target that holds it exactly; our own where none does, and then it says why. */
function chosen(asked: Asked): TargetName {
  const fits = (name: TargetName) => targetOf(name).auto(asked.traits) && refusal(name, asked) === null;
  return TARGET_NAMES.find(fits) ?? 'espalier';
}

/** Targets that do hold it, beside what could be changed. */
function hintOf(change: string | null, asked: Asked): string {
  const others = TARGET_NAMES.filter((name) => refusal(name, asked) === null).map((name) => `\`target: ${name}\``);
  const list = others.join(' or ');
  if (change === null) return list === '' ? 'Choose another model.' : `Use ${list}.`;
  return list === '' ? `${change}.` : `${change}, or use ${list}.`;
}

/** What llama.cpp would compute otherwise, made such that it does not. */
function adapt(
  gguf: GgufTarget | null,
  plan: GrowPlan,
  { tiedEmbeddings }: ModelConfig,
  all: boolean,
): Pick<Fit, 'untie' | 'sharedGate' | 'renormalise' | 'notes'> {
  if (gguf === null) throw inexact('no architecture of llama.cpp is like it', 'Use a stock `target` for GGUF.');
  if (!all) throw inexact('llama.cpp wants experts in every layer', 'Grow every layer (`layers`) for GGUF.');
  const { name, renormalises, sharedGate } = gguf;
  const notes: string[] = [];
  const untie = gguf.untie && tiedEmbeddings;
  if (untie) {
    notes.push(`The output matrix is stored apart from the embedding, because llama.cpp wants one for ${name}.`);
  }
  if (!renormalises) {
    if (plan.preserve !== 'as-published' && !isCorrection(plan.method)) {
      throw inexact(
        `llama.cpp does not divide the weights of ${name} by their sum, so copies do not add up to the dense output`,
        'Use `preserve: as-published`, or another `target`.',
      );
    }
    notes.push(`norm_topk_prob is false, because llama.cpp never divides by the sum for ${name}: train it like that.`);
  }
  if (sharedGate !== null) {
    notes.push(`The shared expert's gate is ${sharedGate.value} instead of 0, ${sharedGate.why}.`);
  }
  return { untie, sharedGate: sharedGate?.value ?? 0, renormalise: renormalises, notes };
}

/** What of corrections may surprise. */
function remarks(plan: GrowPlan): string[] {
  const { anchor, placement, normalise } = plan;
  const list: string[] = [];
  if (placement.length > 1 && normalise !== 'none') {
    const how = anchor === 'folded' ? 'they add up' : 'they multiply';
    list.push(
      `Each of ${placement.length} corrections has the size ${rounded(rhoOf(plan))}, because ${how}: together about rho.`,
    );
  }
  if (anchor === 'none')
    list.push('The dense feed-forward is nowhere in the result: it starts with the corrections alone.');
  if (anchor === 'routed')
    list.push('The dense feed-forward is one of the routed experts: tokens that miss it start with corrections alone.');
  return list;
}

function typeOf(stored: StoredType, plan: GrowPlan, notes: string[]): OutputType {
  const corrected = plan.method === 'spri' || plan.method === 'scaled-copy';
  const rho = rhoOf(plan);
  const folded = plan.anchor === 'folded' && corrected && rho > 0 && plan.normalise !== 'none';
  const own: OutputType = stored === 'f32' || stored === 'f16' || stored === 'bf16' ? stored : 'bf16';
  const wanted = plan.dtype === 'auto' ? own : plan.dtype;
  if (stored !== own)
    notes.push(`The source is quantised (${stored}); its weights are written dequantised, as ${wanted}.`);
  if (!folded || rho >= LEAST_RHO[wanted]) return wanted;
  const why = `a correction of size ${rounded(rho)} folded into the weights is lost in the rounding of ${wanted}`;
  if (plan.dtype !== 'auto') {
    const least = rounded((LEAST_RHO[wanted] * plan.rho) / rho);
    throw inexact(why, `Use a \`rho\` of at least ${least}, \`dtype: f32\`, or \`anchor: shared\`.`);
  }
  notes.push(`Written as f32: ${why}.`);
  return 'f32';
}

function inexact(why: string, hint: string): EspalierError {
  return unfit(`This result would not be exact: ${why}.`, hint);
}

function unfit(message: string, hint: string): EspalierError {
  return new EspalierError('E_TARGET', message, hint);
}
