/** Options of a job that makes a model forget (`espalier/prune`). */
import { GATE_KINDS, type GateKind } from '../checkpoint/adapter/gate-kinds.ts';
import type { RoutingRule } from '../checkpoint/adapter/routing.ts';
import { type DataSource, dataSource } from '../datasets/source.ts';
import { type SequenceOptions, sequenceOptions } from '../datasets/training/options.ts';
import { anyMemoryLimit, type DeviceKind, deviceKind, lanes } from '../device/options.ts';
import { object } from '../options/check.ts';
import {
  defaulting,
  either,
  listOf,
  nothing,
  oneOf,
  place,
  type Rule,
  real,
  type Schema,
  text,
  whole,
  words,
} from '../options/rules.ts';
import type { ModelTarget } from '../runtime/files/model-files.ts';
import { targetRule } from '../runtime/files/target.ts';
import { type FilesOptions, filesOptions } from '../runtime/hub/options.ts';
import { output } from '../runtime/output/options.ts';
import type { OutputFolder } from '../runtime/output/output.ts';
import { trainWriteOptions } from '../train/options.ts';
import { type ForgetRetainOptions, forgetRetainOptions } from './data/open.ts';
import { FORGET_MASKS, FORGET_OBJECTIVES, type ForgetMask, type ForgetObjective } from './edit/batches.ts';
import { type TwoPhaseOptions, twoPhaseOptions } from './edit/options.ts';
import { type EntropyOptions, entropyOptions } from './entropy/options.ts';

/** What goes on. */
export interface PruneProgress {
  /**
   * Looking through the data; entropies, sub-domains and answers of models without the adapter; both phases with their looks; the gate; answers of
   * the model with the adapter.
   */
  readonly stage:
    | 'reading'
    | 'measuring'
    | 'loading'
    | 'training'
    | 'looking'
    | 'saving'
    | 'gating'
    | 'checking'
    | 'writing';
  /** Bytes, examples, steps: of `total`. */
  readonly done: number;
  readonly total: number;
  /** Of training, at the pace so far; null elsewhere, and until there is one. */
  readonly secondsLeft: number | null;
  /** The mean probability of answers to be forgotten, a token, as they were seen last; null before the first look. */
  readonly answers: number | null;
}

/** What a pruning does. */
export interface PruneRecipe
  extends Omit<ForgetRetainOptions, 'signal' | 'onProgress'>,
    Omit<SequenceOptions, 'loss'>,
    EntropyOptions,
    Omit<TwoPhaseOptions, 'retains' | 'enough' | 'rows' | 'objective' | 'epochs' | 'looks' | 'mask'>,
    FilesOptions {
  /** Files of examples to forget: paths or file URLs (Node, Deno, Bun), bytes or Blobs. */
  readonly forget?: DataSource | readonly DataSource[];
  /** Files of examples to keep, of the same kinds as what is forgotten and of others: whatever the model shall go on knowing. */
  readonly retain?: DataSource | readonly DataSource[];
  /** What the request is called: it can be taken back by that name. Default `request-1`, of a later one the next number. */
  readonly request?: string;
  /** An adapter of earlier requests for the same model, whose experts stay as they are. Default: none. */
  readonly earlier?: ModelTarget;
  /**
   * The model before it learned what is to be forgotten, with the same tokenizer, whose entropies tell facts from structure. Default: the model
   * itself, which is certain of what it has learned by heart.
   */
  readonly base?: ModelTarget;
  /** A model that learned what is kept and never what is forgotten, with the same tokenizer: the choice among looks goes by its answers. */
  readonly reference?: ModelTarget;
  /** Examples of the same form that the model has never seen: without a reference the choice goes by the model's answers to them. */
  readonly unseen?: DataSource | readonly DataSource[];
  /** Sub-domains, each with an expert: a number, `auto` (k-means by silhouette), or `{ column }`, which names them. Default 1. */
  readonly domains?: number | 'auto' | { readonly column: string };
  /**
   * An expert rests for good once the probability of its answers, a token, is below this; null: never. Default: with one sub-domain never, since
   * the choice among looks finds where to stop, and with several the mean probability of answers that were never learned.
   */
  readonly enough?: number | null;
  /**
   * What is given in place of what is forgotten: `hinge`, anything else, by the inverted hinge loss of the paper; `base`, what the base gives there, by
   * the divergence from it. Default `base` where there is one, else `hinge`.
   */
  readonly objective?: ForgetObjective;
  /** Which tokens of answers are forgotten: of low entropy, of high, or all. Default `low` of `hinge`, and `all` of `base`. */
  readonly mask?: ForgetMask;
  /**
   * How often Phase II goes through what is to be forgotten, at most. Default 3 of `hinge`, and 6 of `base`, which ends where all is forgotten; of few
   * examples as often as an expert needs to have 75 and 150 steps.
   */
  readonly epochs?: number;
  /** Looks within an epoch; 0.25: one in four of them, and one at the end. Default 6; where few examples have more epochs by default, as many in all. */
  readonly looks?: number;
  /** Most tokens of a pass. Default 2048, or `maxTokens` where that is more. */
  readonly rows?: number;
  /** Of the factors. Default 8. */
  readonly rank?: number;
  /** The product of the factors is multiplied by alpha / rank. Default the rank. */
  readonly alpha?: number;
  /** Ends of the names of linear layers, such as `q_proj`. Default: all of attention and feed-forwards. */
  readonly targets?: readonly string[];
  /** q of the entropies that Phase I keeps. Default 0.8. */
  readonly structureOrder?: number;
  /**
   * What chooses experts: `global`, a perceptron over the mean of the unadapted model's hidden states so far and the one now; `hidden`, linear in the
   * one now; `both`, in that and the entropy; `literal`, in the entropy alone, which cannot tell texts apart. Default `global`.
   */
  readonly gate?: GateKind;
  /** Where experts act: `pn`, wherever the gate says so, shared where the entropy is high; `tr`, where it is high alone. Default `pn`. */
  readonly path?: RoutingRule['path'];
  /** Whether positions are told high or low by the entropy of what comes, or of the token itself. Default `predictive`. */
  readonly alignment?: RoutingRule['alignment'];
  /**
   * Entropy of the unadapted model above which a position is high for the rule of the experts; null: none is, and no entropy is computed. Default
   * null, and with the path `tr` 1.2.
   */
  readonly routeCut?: number | null;
  /** Steps of the gate's training. Default 2000. */
  readonly gateSteps?: number;
  /** Most tokens of what is kept that the gate learns from at first; of what is forgotten it learns from all. Default 60000. */
  readonly gateTokens?: number;
  /** How often it goes through the rest of what is kept, and learns from what it was wrong or unsure about. Default 2. */
  readonly gateRounds?: number;
  /** Between the two layers of the gate. Default 128. */
  readonly gateUnits?: number;
  /**
   * Factors of the experts' coefficients that are tried at each look that comes near; 1 always is. Unless it is 1 alone, with the objective `base` the one
   * that is left is settled in the end, up to a quarter beyond the most. Default 0.8, 0.9, 1 and 1.1.
   */
  readonly strengths?: readonly number[];
  /** Most examples of either side that looks measure, and of what is kept that is measured before and behind all; of what is forgotten that is up to 1000, or `measured` where it is more. Default 200. */
  readonly measured?: number;
  /**
   * What computes: `wasm`, the CPU; `webgpu`, a GPU; or a `GPUDevice` of your own. `auto` (default): a real GPU where it is known to be faster with a
   * model of this size, else the CPU. The two do not come to the same bits (docs/webgpu.md).
   */
  readonly device?: DeviceKind;
  /** Threads that compute; default: all that can share memory. The result does not depend on it. */
  readonly lanes?: number | 'auto';
  /** Most bytes on the device: what would take more is refused before it begins. Default 4 GiB, on a GPU none. */
  readonly memoryLimit?: number;
  /** Folder of the kernels' wasm files, where it is not beside the JavaScript. */
  readonly wasmLocation?: string | URL;
}

export interface PruneOptions extends PruneRecipe {
  /** A folder that does not exist yet or is empty (Node, Deno, Bun), or an output of one's own, such as `memoryOutput`. */
  readonly out: string | URL | OutputFolder;
  /** Steps between two states that are kept in the folder, to go on from. 0: none. Default 100. */
  readonly saveEvery?: number;
  /** Throws away what an earlier job with other options has left unfinished there. */
  readonly restart?: boolean;
  /** What goes on (`PruneProgress`). */
  readonly onProgress?: (progress: PruneProgress) => void;
}

const { signal: _, onProgress: __, ...data } = forgetRetainOptions;
const { loss: ___, ...sequences } = sequenceOptions;
const {
  retains: ____,
  enough: _____,
  rows: ______,
  objective: _______,
  mask: ________,
  epochs: _________,
  ...phases
} = twoPhaseOptions;
const sources = either(dataSource, listOf(dataSource, 1));

const column: Rule<{ readonly column: string }> = object<{ readonly column: string }>({ column: words }, 'domains', [
  'column',
]);

export const pruneRecipe = {
  ...data,
  ...sequences,
  ...entropyOptions,
  ...phases,
  enough: either(real(0, 1), nothing),
  objective: oneOf(...FORGET_OBJECTIVES),
  mask: oneOf(...FORGET_MASKS),
  epochs: whole(1),
  rows: whole(2),
  forget: sources,
  retain: sources,
  request: text(),
  earlier: targetRule('The earlier adapter'),
  base: targetRule('The base'),
  reference: targetRule('The reference'),
  unseen: sources,
  domains: defaulting(either(whole(1, 64), oneOf('auto'), column), 1),
  rank: defaulting(whole(1, 1024), 8),
  alpha: real(0, Number.MAX_VALUE, { above: true }),
  targets: listOf(words, 1),
  structureOrder: defaulting(real(0, 100, { above: true }), 0.8),
  gate: defaulting(oneOf(...GATE_KINDS), 'global'),
  path: defaulting(oneOf('pn', 'tr'), 'pn'),
  alignment: defaulting(oneOf('predictive', 'lagged'), 'predictive'),
  routeCut: either(real(0), nothing),
  gateSteps: defaulting(whole(1), 2000),
  gateTokens: defaulting(whole(1), 60_000),
  gateRounds: defaulting(whole(0), 2),
  gateUnits: defaulting(whole(1, 1 << 16), 128),
  strengths: defaulting(listOf(real(0, 10, { above: true }), 1), [0.8, 0.9, 1, 1.1]),
  measured: defaulting(whole(1), 200),
  device: deviceKind,
  lanes,
  memoryLimit: anyMemoryLimit,
  wasmLocation: place,
};

/** What a plan is of. */
export interface PlanPruneOptions extends PruneRecipe {
  /** Where it would be written. */
  readonly out?: PruneOptions['out'];
}

/** Of `espalier/prune`. */
export const planPruneOptions = {
  ...pruneRecipe,
  ...filesOptions,
  out: output,
} as const satisfies Schema<PlanPruneOptions>;

export const pruneOptions = {
  ...planPruneOptions,
  ...trainWriteOptions,
} as const satisfies Schema<PruneOptions>;
