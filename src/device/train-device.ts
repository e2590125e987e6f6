import type { AttentionArguments, Device, GatedActivation, RopeLayout, RouteRule, Tensor } from './device.ts';

/**
 * What training needs beside `Device`: the way back through each operation, and the optimiser. An inference-only device is complete
 * without it. There is no tape: whoever runs a block forward keeps what its way back needs and calls these, the pair beside each other.
 *
 * `dX` is the gradient of a scalar loss by X, of X's shape, f32 rows unless said otherwise. Where a gradient has several sources it is
 * added to (`+=`): gradients of weights always are, since one weight meets many chunks; those of activations are replaced unless
 * the operation says that it adds. Sums over rows run in the order of rows and are the same for any number of lanes; on a GPU they run in an
 * order of its own, pieces of rows and then the pieces' sums, which sizes alone decide: every run on it gives the same bits.
 */
export interface TrainDevice extends Device {
  // ---- elements
  /** x = value, everywhere. */
  fill(x: Tensor, value: number): void;
  /** y += alpha · x, same shape. */
  axpy(alpha: number, x: Tensor, y: Tensor): void;
  /** out[N] += Σ over rows of x [T, N]: the gradient of a bias. */
  columnSum(x: Tensor, out: Tensor): void;
  /** out[0] += Σ x², summed in f64 (on a GPU by a tree of f32, 1e-6 of it): for clipping by the global norm. out f32 [1]. */
  sumSquares(x: Tensor, out: Tensor): void;

  // ---- optimiser
  adamStep(args: AdamArguments): void;
  /**
   * Rounds an f32 weight [N, K], or a stack [E, N, K], to the type of one that `loadMatrix` or `loadMatrices` made, f32, bf16 or f16, and
   * puts it into its panels: an updated master weight back to where products read it.
   */
  pack(from: Tensor, to: Tensor): void;

  // ---- products
  /**
   * dX [T, K] = dY [T, N] · W [N, K], W in panels of any type, quantised ones dequantised on the way and exact; accumulate: dX += ….
   * The gradient of the weight is `matmul(dY, x, dW, { transposeA: true, accumulate: true })`.
   */
  linearBackward(dY: Tensor, weight: Tensor, dX: Tensor, accumulate?: boolean): void;
  /** The same by expert: rows offsets[e] .. offsets[e + 1] - 1 of dY [R, N] meet matrix e of the stack `weights` [E, N, K]. */
  linearGroupedBackward(dY: Tensor, offsets: Tensor, weights: Tensor, dX: Tensor, accumulate?: boolean): void;
  /** dW[e] [N, K] += dY_eᵀ · X_e over the rows of expert e; dW f32 [E, N, K]. */
  linearGroupedWeights(dY: Tensor, offsets: Tensor, x: Tensor, dW: Tensor): void;
  /** dW[ids[t], :] += dY[t, :], rows in their order: ids i32 [T], dY [T, K], dW f32 [V, K]. Of `embed`. */
  embedBackward(ids: Tensor, dY: Tensor, dW: Tensor): void;

  // ---- layers
  /**
   * With r = 1 / sqrt(mean(x²) + eps) of each group of n = weight.length elements and g = weight ∘ dY:
   * dX += r · g − x · r³ / n · Σ g ∘ x; dWeight[n] += Σ over groups of dY ∘ x · r, or null for a frozen one.
   * (Zhang and Sennrich 2019, differentiated.) dX adds, because the residual stream goes on beside the norm.
   */
  rmsNormBackward(x: Tensor, weight: Tensor, dY: Tensor, eps: number, dX: Tensor, dWeight: Tensor | null): void;
  /**
   * Of `gatedActivation`, out = act(gate) ∘ up: dGate = dY ∘ up ∘ act'(gate), dUp = dY ∘ act(gate). dGate may be gate, dUp may be up.
   * silu: σ(x) (1 + x (1 − σ(x))). gelu-tanh: with u = √(2/π) (x + 0.044715 x³) and t = tanh u,
   * ½ (1 + t) + ½ x (1 − t²) √(2/π) (1 + 0.134145 x²).
   */
  gatedActivationBackward(
    kind: GatedActivation,
    gate: Tensor,
    up: Tensor,
    dY: Tensor,
    dGate: Tensor,
    dUp: Tensor,
  ): void;
  /**
   * Of `rope`, in place: rotates dX by the transpose, which is the angles of the same table negated. A factor that the table carries (YaRN's)
   * multiplies here, too.
   */
  ropeBackward(dX: Tensor, table: Tensor, positions: Tensor | number, layout: RopeLayout): void;
  attentionBackward(args: AttentionBackwardArguments): void;
  /**
   * Of `scaleRows`: dX[t] += coefficients[t, column] · dY[t], and dCoefficients[t, column] += Σ x[t] ∘ dY[t]; either may be null. dX adds,
   * because terms that share one x meet there. dCoefficients [T, E].
   */
  scaleRowsBackward(
    x: Tensor,
    coefficients: Tensor,
    column: number,
    dY: Tensor,
    dX: Tensor | null,
    dCoefficients: Tensor | null,
  ): void;

  // ---- experts
  /**
   * From dWeights [T, k], the gradient by the chosen weights, to dLogits [T, E] += …; places as `route` gave them. With p the score of each
   * expert, c the chosen and s the rule's scale:
   * - softmax, not renormalised: dL_i = s p_i ([i ∈ c] dW_i − Σ_c dW_j p_j)
   * - softmax renormalised and selected-softmax (the same function of the chosen logits): with w the weights, dL_i = w_i (dW_i − Σ_c dW_j w_j / s)
   *   for i ∈ c, 0 beside
   * - sigmoid, not renormalised: dL_i = s p_i (1 − p_i) dW_i for i ∈ c; renormalised: with S = Σ_c p, the inner gradient
   *   (dW_i − Σ_c dW_j p_j / S) s / S takes the place of s dW_i
   * The choice itself has no gradient; neither has the selection bias.
   */
  routeBackward(logits: Tensor, rule: RouteRule, places: Tensor, dWeights: Tensor, dLogits: Tensor): void;
  /**
   * Of `combine`: dY [T · k, d], the row that stands for slot t · k + j = weights[t, j] · dOut[t]; dWeights[t, j] = dOut[t] · that row of y.
   * dY may be y.
   */
  combineBackward(dOut: Tensor, y: Tensor, order: Tensor, weights: Tensor, dY: Tensor, dWeights: Tensor): void;
  /** Of `gatherRows`: dX [T, d] += the rows of dY [T · k, d] of each token's slots, in their order. */
  gatherRowsBackward(dY: Tensor, order: Tensor, dX: Tensor): void;
  /** Of `sigmoidScale`, out = σ(gate) ∘ x, x as it stood before: dX = σ dOut, dGate[t] = σ (1 − σ) Σ dOut ∘ x. dX may be dOut. */
  sigmoidScaleBackward(gate: Tensor, x: Tensor, dOut: Tensor, dX: Tensor, dGate: Tensor): void;
  /**
   * What is added to the loss for a router, of its logits [T, E] and the offsets [E + 1] that `dispatch` gives: losses[0] = E Σ f_i P_i
   * (Fedus et al. 2022), f_i = (offsets[i + 1] − offsets[i]) / offsets[E] the share of slots, P_i = mean over tokens of softmax(logits)_i,
   * whatever the rule scores by; losses[1] = mean over tokens of logsumexp(logits)² (Zoph et al. 2022). losses f32 [2], replaced.
   */
  routerLosses(logits: Tensor, offsets: Tensor, losses: Tensor): void;
  /**
   * Of balance · losses[0] + z · losses[1]; shares have no gradient: with p = softmax(logits[t]),
   * dLogits[t, i] += balance · E / T · p_i (f_i − Σ_j f_j p_j) + z · 2 / T · logsumexp(logits[t]) · p_i.
   */
  routerLossesBackward(logits: Tensor, offsets: Tensor, balance: number, z: number, dLogits: Tensor): void;

  // ---- losses
  /**
   * dLogits[t, v] = weights[t] · (e^(logits[t, v] − logSumExp[t]) − [v = targets[t]]): of Σ weights · cross-entropy. `numbers` as
   * `logitStats` gives them; targets i32 [T], below 0: no loss there, the row becomes 0; weights f32 [T]. dLogits may be logits.
   */
  crossEntropyBackward(logits: Tensor, numbers: Tensor, targets: Tensor, weights: Tensor, dLogits: Tensor): void;
  /**
   * Of Σ weights · KL(reference ‖ model): dLogits[t, v] += weights[t] · (softmax(logits[t])_v − softmax(reference[t])_v), each with its
   * `logitStats`. losses[t] = the divergence in nats. A row of weight 0 is passed over, and its loss is 0.
   */
  divergenceBackward(
    reference: Tensor,
    referenceNumbers: Tensor,
    logits: Tensor,
    numbers: Tensor,
    weights: Tensor,
    dLogits: Tensor,
    losses: Tensor,
  ): void;
  /**
   * The inverted hinge loss (Cha et al. 2025, arXiv 2408.06621): losses[t] = 1 + p(targets[t]) − the largest probability of another token,
   * from what `logitStats` gave with these targets. Below 0: none, and a loss of 0. losses f32 [T]; as exact as the log-sum-exp, whose size times
   * 6e-8 is what rounding may make of it.
   */
  hingeLoss(numbers: Tensor, places: Tensor, targets: Tensor, losses: Tensor): void;
  /**
   * Of Σ weights · `hingeLoss`, conventions as of `crossEntropyBackward`: with P the target's probability and v the likeliest other token, the lowest of
   * equals, of probability Q, dLogits[t, j] = weights[t] · (p_j (Q − P) + [j = target] P − [j = v] Q). dLogits may be logits.
   */
  hingeBackward(
    logits: Tensor,
    numbers: Tensor,
    places: Tensor,
    targets: Tensor,
    weights: Tensor,
    dLogits: Tensor,
  ): void;
  /**
   * Of Σ weights · S_q, or with a reference f32 [T] of Σ weights · (S_q − reference)², S_q the Tsallis entropy that `logitStats` gave in `numbers` of
   * order q = tsallisOrder: dLogits[t, j] −= f · q · p_j ((p_j^(q − 1) − 1) / (q − 1) + S_q), f the row's weight, times 2 (S_q − reference). At q = 1 the
   * fraction is ln p_j. A row of weight 0 is passed over.
   */
  entropyBackward(
    logits: Tensor,
    numbers: Tensor,
    tsallisOrder: number,
    reference: Tensor | null,
    weights: Tensor,
    dLogits: Tensor,
  ): void;
}

/**
 * One step of AdamW (Loshchilov and Hutter 2019, algorithm 2), element by element in f32:
 * g = gradientScale · gradient; m = β₁ m + (1 − β₁) g; v = β₂ v + (1 − β₂) g²;
 * θ −= rate · (m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + ε) + weightDecay · θ).
 */
export interface AdamArguments {
  /** θ, f32: the master weights. */
  readonly parameters: Tensor;
  readonly gradient: Tensor;
  readonly m: Tensor;
  readonly v: Tensor;
  /** t, from 1 on. */
  readonly step: number;
  readonly rate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  /** 1 / accumulated steps, times what clipping leaves. */
  readonly gradientScale: number;
}

/**
 * Of attention with P = softmax(scale · q kᵀ) under its mask (Dao et al. 2022, section 3.1): P is computed again from the log-sum-exp of
 * the way forward; D = rowsum(dOut ∘ out); dV += Pᵀ dOut; dS = P ∘ (dOut vᵀ − D); dQ = scale · dS k; dK += scale · dSᵀ q.
 * Keys and values of heads that share one sum over those heads. Without a split: training has none.
 */
export interface AttentionBackwardArguments extends Omit<AttentionArguments, 'split'> {
  /** As `attention` gave it, [T, nHeads]. */
  readonly logSumExp: Tensor;
  readonly dOut: Tensor;
  /** Replaced. */
  readonly dQ: Tensor;
  /** Rows [capacity, nKvHeads · headDim] like the cache; added to. */
  readonly dKeys: Tensor;
  readonly dValues: Tensor;
}
