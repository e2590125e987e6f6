import type { Tensor } from '../device/device.ts';
import type { TrainDevice } from '../device/train-device.ts';
import type { MixtureBuffers } from '../model/experts.ts';

/** T tokens of several sequences behind one another, without padding. */
export interface MicroBatch {
  /** [T] */
  readonly ids: Int32Array;
  /** [T] RoPE position, from 0 on in each sequence. */
  readonly positions: Int32Array;
  /** [T] row where the token's own sequence begins: token t sees rows starts[t] .. t. */
  readonly starts: Int32Array;
  /** [T] the token that follows; below 0: no loss there. */
  readonly targets: Int32Array;
  /**
   * [T] of each row's cross-entropy; usually 1 / (target tokens of the whole step), so that the losses of a step's batches add up to its mean.
   * Below 0 the loss rises, 0 asks for nothing.
   */
  readonly weights: Float32Array;
  /** [T] weights of the inverted hinge loss of each row, as `TrainDevice.hingeLoss` has it. Default: all 0. */
  readonly hinge?: Float32Array | undefined;
  readonly invariance?: InvarianceRows | undefined;
  readonly distillation?: DistillationRows | undefined;
  readonly steering?: SteeringRows | undefined;
  /** [T, experts] coefficients of terms of adapters that have an expert, by row; default: all 0. `PassOptions.onRouting` tells their gradient. */
  readonly routing?: Float32Array | undefined;
}

/**
 * Asks for Σ weights · (S_q(p) − base)²: predictions shall be as uncertain as they were. Without a base for Σ weights · S_q(p) itself. Rows need
 * no target.
 */
export interface InvarianceRows {
  /** q of the Tsallis entropy, above 0; 1 is Shannon's. */
  readonly order: number;
  /** [T] */
  readonly base: Float32Array | null;
  /** [T]; 0: not asked for */
  readonly weights: Float32Array;
}

/**
 * Asks for Σ weights · cross-entropy against softmax(z − penalty · onehot(target)), z the logits of the reference: UNDIAL (Dong et al. 2024,
 * arXiv 2402.10052). Rows need no target; without one, or a penalty, it is the divergence from the reference and the reference's entropy.
 */
export interface DistillationRows {
  readonly penalty: number;
  /** [T]; 0: not asked for */
  readonly weights: Float32Array;
}

/**
 * Asks for Σ weights · |h − target|² / hidden, h the residual stream behind a layer: RMU (Li et al. 2024, arXiv 2403.03218). Layers above it
 * are left out where nothing else is asked. Rows need no target token.
 */
export interface SteeringRows {
  /** From 0 on. */
  readonly layer: number;
  /** [hidden], that of all rows; null: the hidden states of the reference. */
  readonly target: Float32Array | null;
  /** [T]; 0: not asked for */
  readonly weights: Float32Array;
}

/** One weight that may be trained. */
export interface Parameter {
  /** Hugging Face's name; a LoRA factor has PEFT's. */
  readonly name: string;
  /** [n], [N, K], or a stack of experts [E, N, K]. */
  readonly shape: readonly number[];
  /** The master weight, f32 rows: it stands whether or not it is trained at the moment. */
  readonly value: Tensor;
  /** f32 rows while it is trained, else null. */
  readonly gradient: Tensor | null;
  /** The panels that products read; null where `value` itself is read. */
  readonly packed: Tensor | null;
  /** Whether weight decay is for it: matrices, and not norms and biases. */
  readonly decay: boolean;
}

export interface PassOptions {
  /** Looked at before each layer. */
  readonly signal?: AbortSignal | undefined;
  /** Runs each layer forward again on the way back instead of keeping its buffers. Default true. */
  readonly recompute?: boolean;
  /**
   * Factors of what is added to the cross-entropy, default 0: load balance and router z-loss, each of this batch and summed over layers, and
   * the KL divergence from the reference, Σ weights · KL. Whoever spreads a step over several batches divides the first two among them.
   */
  readonly balance?: number;
  readonly z?: number;
  readonly divergence?: number;
  /**
   * Called on the way forward in each layer with experts, with what it computed: scratch. Enqueue what shall be done with it before it returns.
   */
  readonly onMixture?: ((layer: number, mixture: MixtureBuffers) => void) | undefined;
  /** Called with the cross-entropy of each row [T] with a target, in nats, whatever its weights; 0 in the others. */
  readonly onRows?: ((nll: Float32Array) => void) | undefined;
  /** Of a step: called with the gradient by the batch's coefficients [T, experts], of all that is differentiated. */
  readonly onRouting?: ((gradient: Float32Array) => void) | undefined;
}

/** Losses of one batch, without the factors of `PassOptions`; 0 for those that have none, or that nobody asked for. */
export interface PassLosses {
  /** Σ weights · cross-entropy, in nats. */
  readonly crossEntropy: number;
  /** Σ over layers of E Σ f_i P_i (Fedus et al. 2022), f_i the share of (token, slot) assignments of expert i, P_i its mean probability. */
  readonly balance: number;
  /** Σ over layers of mean logsumexp² of the router (Zoph et al. 2022). */
  readonly z: number;
  /** Σ weights · KL(reference ‖ model). */
  readonly divergence: number;
  /** Those that a batch asks for beside its cross-entropy, with its weights. */
  readonly hinge: number;
  readonly invariance: number;
  readonly distillation: number;
  readonly steering: number;
}

/** What a trainer trains: weights on a device, and the way forward and back through what they compute. */
export interface Trainable {
  readonly device: TrainDevice;
  /** All that may be trained at some time, always in the same order; what is frozen for good is not among them. */
  readonly parameters: readonly Parameter[];
  /** Chooses what is trained from now on, and makes and frees gradients: zeros. What is frozen costs no gradient. */
  train(wanted: (parameter: Parameter) => boolean): void;
  /** Forward and backward; adds to gradients. @throws E_ABORTED, E_OUT_OF_MEMORY; gradients are undefined then */
  step(batch: MicroBatch, options: PassOptions): Promise<PassLosses>;
  /** Forward alone. @throws as `step` */
  evaluate(batch: MicroBatch, options: PassOptions): Promise<PassLosses>;
  zeroGradients(): void;
  /** Puts master weights that have changed back to where products read them. */
  repack(): void;
  dispose(): void;
}
