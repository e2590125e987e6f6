import { EspalierError } from '../../errors.ts';

/**
 * Losses of other methods of unlearning as weights of a cross-entropy, from a forward pass: a loss L of the sums S_i = Σ_t l_t of sequences has
 * the gradient Σ_i ∂L/∂S_i · ∂S_i, which is that of Σ_i w_i S_i with the weights w_i = ∂L/∂S_i held fixed. Formulas and defaults are those of
 * open-unlearning (Dorna et al. 2025, arXiv 2506.12618). RMU, UNDIAL and the hinge are asked of a pass itself (`MicroBatch`).
 */
export interface Weighted {
  /** In nats. */
  readonly loss: number;
  /** What the cross-entropy of each row of a sequence, or of each token, is multiplied by. */
  readonly weights: Float64Array;
}

/** Of sequences, by the model that is trained: sums over their targets, in nats. */
export type Sums = ArrayLike<number>;

/** The same of the model that is trained and of the reference, which stays as it was. */
export interface ReferredSums {
  readonly sums: Sums;
  readonly reference: Sums;
}

/**
 * Defaults of open-unlearning, and of the hinge's authors: the forget loss times `forget`, plus the mean cross-entropy of the retain data, of RMU
 * its own loss, times `retain`.
 */
export const RIVALS = {
  gradAscent: { forget: 1, retain: 0 },
  gradDiff: { forget: 1, retain: 1 },
  npo: { beta: 0.1, forget: 1, retain: 1 },
  simNpo: { beta: 4.5, delta: 0, forget: 0.125, retain: 1 },
  idkDpo: { beta: 0.1, forget: 1, retain: 1 },
  undial: { penalty: 10, forget: 1, retain: 0 },
  wga: { beta: 1, forget: 1, retain: 1 },
  satImp: { beta1: 5, beta2: 1, forget: 0.1, retain: 1 },
  rmu: { layer: 7, coefficient: 2, forget: 1, retain: 1 },
  hinge: { forget: 1, retain: 1 },
} as const;

/** The mean over all tokens: what retains. @param tokens of each sequence. @throws E_ARGUMENT */
export function meanLoss(sums: Sums, tokens: ArrayLike<number>): Weighted {
  checkTokens(sums, tokens);
  const count = total(tokens);
  return { loss: total(sums) / count, weights: new Float64Array(sums.length).fill(1 / count) };
}

/** Less the mean over all tokens (Jang et al. 2023, arXiv 2210.01504). @throws E_ARGUMENT */
export function gradAscent(sums: Sums, tokens: ArrayLike<number>): Weighted {
  const { loss, weights } = meanLoss(sums, tokens);
  return { loss: -loss, weights: weights.map((weight) => -weight) };
}

/** −2/β · mean log σ(β (S − S_ref)) (Zhang et al. 2024, arXiv 2404.05868). @throws E_ARGUMENT */
export function npo({ sums, reference }: ReferredSums, beta: number = RIVALS.npo.beta): Weighted {
  checkReferred({ sums, reference });
  return preferred(
    Float64Array.from(sums, (sum, i) => sum - reference[i]!),
    beta,
  );
}

/** −2/β · mean log σ(β (S / tokens − δ)), without a reference (Fan et al. 2024, arXiv 2410.07163). @throws E_ARGUMENT */
export function simNpo(
  sums: Sums,
  tokens: ArrayLike<number>,
  { beta, delta }: { readonly beta: number; readonly delta: number } = RIVALS.simNpo,
): Weighted {
  checkTokens(sums, tokens);
  checkFinite([delta], 'delta');
  const { loss, weights } = preferred(
    Float64Array.from(sums, (sum, i) => sum / tokens[i]! - delta),
    beta,
  );
  return { loss, weights: weights.map((weight, i) => weight / tokens[i]!) };
}

/** What IdkDPO weighs: the answers that are to be forgotten, and those of "I don't know" in their place. */
export interface WeighedPairs {
  readonly loss: number;
  readonly forget: Float64Array;
  readonly idk: Float64Array;
}

/** −2/β · mean log σ(β ((S − S_ref) of the answer − (S − S_ref) of "I don't know")) (Maini et al. 2024, arXiv 2401.06121). @throws E_ARGUMENT */
export function idkDpo(forget: ReferredSums, idk: ReferredSums, beta: number = RIVALS.idkDpo.beta): WeighedPairs {
  for (const one of [forget, idk]) checkReferred(one);
  checkSame(forget.sums, idk.sums, 'pairs');
  const change = ({ sums, reference }: ReferredSums, i: number) => sums[i]! - reference[i]!;
  const margins = Float64Array.from(forget.sums, (_, i) => change(forget, i) - change(idk, i));
  const { loss, weights } = preferred(margins, beta);
  return { loss, forget: weights, idk: weights.map((weight) => -weight) };
}

/** −mean(p^β l), p the target's probability and no gradient through it (Wang et al. 2025, arXiv 2502.19301). @param nll by token. @throws E_ARGUMENT */
export function weightedAscent(nll: ArrayLike<number>, beta: number = RIVALS.wga.beta): Weighted {
  checkFinite([beta], 'beta');
  return tokenAscent(nll, (p) => p ** beta);
}

/** −mean(p^β1 (1 − p)^β2 l), conventions as of `weightedAscent` (Yang et al. 2025, arXiv 2505.11953). @throws E_ARGUMENT */
export function satImp(
  nll: ArrayLike<number>,
  { beta1, beta2 }: { readonly beta1: number; readonly beta2: number } = RIVALS.satImp,
): Weighted {
  checkFinite([beta1, beta2], 'beta');
  return tokenAscent(nll, (p) => p ** beta1 * (1 - p) ** beta2);
}

function tokenAscent(nll: ArrayLike<number>, importance: (probability: number) => number): Weighted {
  checkFinite(nll, 'cross-entropy');
  checkAny(nll.length);
  const weights = Float64Array.from(nll, (loss) => -importance(Math.exp(-loss)) / nll.length);
  return { loss: weights.reduce((sum, weight, i) => sum + weight * nll[i]!, 0), weights };
}

/** −2/β · mean log σ(β margin), and its slopes by the margins: −2/n · σ(−β margin). */
function preferred(margins: Float64Array, beta: number): Weighted {
  if (!(beta > 0 && Number.isFinite(beta))) refuse(`a beta of ${beta}`);
  checkAny(margins.length);
  const factor = 2 / margins.length;
  // −log σ(u) = log(1 + e^−u), whatever the sign of u
  const softplus = (x: number) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
  const sigmoid = (x: number) => (x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x)));
  return {
    loss: (factor / beta) * margins.reduce((sum, margin) => sum + softplus(-beta * margin), 0),
    weights: margins.map((margin) => -factor * sigmoid(-beta * margin)),
  };
}

function total(list: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < list.length; i++) sum += list[i]!;
  return sum;
}

function checkReferred({ sums, reference }: ReferredSums): void {
  checkSame(sums, reference, 'sums of the reference');
  checkFinite(sums, 'sum');
  checkFinite(reference, 'sum of the reference');
}

function checkTokens(sums: Sums, tokens: ArrayLike<number>): void {
  checkSame(sums, tokens, 'counts of tokens');
  checkFinite(sums, 'sum');
  checkAny(sums.length);
  const wrong = Array.from(tokens).find((count) => !(Number.isInteger(count) && count > 0));
  if (wrong !== undefined) refuse(`a sequence of ${wrong} tokens`);
}

function checkSame(sums: Sums, others: ArrayLike<number>, what: string): void {
  if (sums.length !== others.length) refuse(`${others.length} ${what} for ${sums.length} sequences`);
}

function checkAny(count: number): void {
  if (count === 0) refuse('nothing to take a mean of');
}

function checkFinite(list: ArrayLike<number>, what: string): void {
  const wrong = Array.from(list).find((value) => !Number.isFinite(value));
  if (wrong !== undefined) refuse(`a ${what} of ${wrong}`);
}

function refuse(what: string): never {
  throw new EspalierError(
    'E_ARGUMENT',
    `The objective is given ${what}.`,
    'Give what a forward pass of sequences with targets found.',
  );
}
