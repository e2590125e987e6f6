/**
 * The one seam between what Espalier computes and what computes it. Model, training and the three systems are written once
 * against `Device`; `wasm/` implements it on the CPU, `webgpu/` will on a GPU.
 *
 * Recording style: an operation is a plain call that enqueues work on tensors and returns nothing. Nothing above this seam
 * sees memory; results come by `await device.read(t)`, at best once a step.
 *
 * Checks: shapes, types, layouts, disposal and aliasing are looked at when an operation is called, before any work (`E_SHAPE`,
 * `E_DISPOSED`), by the same functions for every device (`checks/`).
 *
 * Aliasing: what an operation writes shares no memory with anything else that it is given. Where it says that an output may be an input,
 * that is the same tensor, or a view of the same bytes; a part of it never.
 *
 * Promises: ids, positions, places, orders, offsets and targets are data, which a device cannot look at without a readback. Whoever calls
 * promises that they are in range, and checks what a user gave him; else the result is undefined, but nothing outside of the tensors is
 * read or written. A device in debug mode checks them (`E_SHAPE`).
 */

import type { EspalierError } from '../errors.ts';

/** Element types a device computes with. The quantised three are ggml's: blocks of 32 along a row with f16 scales. */
export type ElementType = 'f32' | 'bf16' | 'f16' | 'i32' | 'u32' | 'i8' | 'q8_0' | 'q8_1' | 'q4_0' | 'q4_1';

/**
 * A tensor on a device. `rows`: row-major, last dimension contiguous. `panels`: a weight matrix in the layout that the device's
 * kernels like, [N, K], or a stack of them [E, N, K]: products and `embed` take it.
 */
export interface Tensor {
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly layout: 'rows' | 'panels';
  /** What its memory is part of, and from which byte of that on: two tensors share memory if the storage is one and the bytes overlap. */
  readonly storage: object;
  readonly offset: number;
  /** Bytes on the device. */
  readonly byteLength: number;
  readonly disposed: boolean;
  /** Frees the memory. Views share their owner's memory and free nothing. Calling it twice is allowed. */
  dispose(): void;
}

/** What `read` gives, and `write` takes, by the tensor's type; bf16 and f16 as their bits. */
export type TensorData = Float32Array | Int32Array | Uint32Array | Uint16Array;

/** Where `loadMatrix` and `loadVector` take a weight from. */
export interface WeightSource {
  /** For messages. */
  readonly name: string;
  /** Type of the bytes that `read` gives: one that the device computes with. */
  readonly type: 'f32' | 'bf16' | 'f16' | 'q8_0' | 'q8_1' | 'q4_0' | 'q4_1';
  /** Matrix [rows, columns]; a vector has one row. */
  readonly rows: number;
  readonly columns: number;
  /**
   * Where row `r` of the matrix stands in the file, or null for the natural order. Must stay within the same group of
   * `orderGroup` rows, which bounds what is read at a time.
   */
  readonly order: ((row: number) => number) | null;
  readonly orderGroup: number;
  /** Fills `target` with the bytes of stored rows from `firstRow` on. */
  read(firstRow: number, target: Uint8Array): Promise<void>;
}

/**
 * How activations meet quantised weights. `exact`: as f32. `int16`, `int8`: quantised per row and block of 32; a device may use more bits than asked for where
 * they cost nothing. Weights in f32 and bf16 meet them as f32 in any case, and those in f16 do but for one: `int8` lets a GPU round them to f16, of eleven
 * bits, each row times a power of two, where it has matrix units and was told to use them (src/device/webgpu/matrix-units.ts). Sums are f32.
 */
export type Precision = 'exact' | 'int16' | 'int8';

/** c = alpha · op(a) · op(b) (+ c); op transposes where told. */
export interface MatmulOptions {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  /** Default 1. */
  readonly alpha?: number;
  /** Adds to c instead of replacing it. */
  readonly accumulate?: boolean;
  /** Each row of c gets the bits that it gets as the only one, as of `linear`. With `transposeB` and without `transposeA`. */
  readonly alone?: boolean;
}

export interface RopeLayout {
  readonly heads: number;
  readonly headDim: number;
  readonly rotaryDims: number;
  readonly layout: 'half' | 'interleaved';
}

export interface AttentionArguments {
  /** [T, nHeads · headDim], rotated. */
  readonly q: Tensor;
  /** Cache, rows [capacity, nKvHeads · headDim]: positions 0 .. base + T - 1 are filled. */
  readonly keys: Tensor;
  readonly values: Tensor;
  /** [T, nHeads · headDim] */
  readonly out: Tensor;
  /** Row i of q stands at cache position base + i. */
  readonly base: number;
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly scale: number;
  /** A row sees at most this many positions, its own included; 0: all before it. Ignored with a mask. */
  readonly window: number;
  /**
   * Prefix-limit mask for branches, [T, 3] i32 of (from, limit, self): row i sees positions from .. limit - 1 and
   * self .. base + i. [T, 6] of (from, limit, from2, limit2, self, own): it sees from .. limit - 1, from2 .. limit2 - 1 and self .. own,
   * own being where it stands, anywhere below base + T. Null: causal.
   */
  readonly mask: Tensor | null;
  /** Gets, for each row and head, the natural log-sum-exp of scale · q kᵀ over what it sees, f32 [T, nHeads]: for the way back. */
  readonly logSumExp?: Tensor | null;
  /** Of another part of the cache, to be weighed against that of `mask`: see `AttentionSplit`. Only with a mask, and without `logSumExp`. */
  readonly split?: AttentionSplit | null;
}

/**
 * A part of the cache that has a softmax of its own: out = (e^(factor · a) · A + e^b · B) / (e^(factor · a) + e^b), where A and a are the
 * attention over this part and its log-sum-exp, B and b those of the mask of `AttentionArguments`. The scale of APE (arXiv 2502.05431).
 */
export interface AttentionSplit {
  /** As `AttentionArguments.mask`, of the same width. */
  readonly mask: Tensor;
  readonly factor: number;
}

/**
 * Keys or values at rest, of some tokens in all layers: [layers · rows, heads · headDim] in f32, f16, or i8; or two codes of 4 bits in one i8,
 * [layers · rows, heads · headDim / 2]. Codes have scales, i8 [layers · rows, heads], each a byte of its own format (assembly/rest-codes.ts).
 */
export interface StoredRows {
  readonly data: Tensor;
  readonly scales: Tensor | null;
}

export interface PlaceArguments {
  readonly from: StoredRows;
  /** f32 [layers · capacity, heads · headDim]: row r of layer l goes to row l · capacity + toRow + r. */
  readonly to: Tensor;
  readonly layers: number;
  readonly toRow: number;
  /** Multiplies everything. */
  readonly factor: number;
  readonly layout: RopeLayout;
  /**
   * By layer, [rows, 2, rotaryDims/2]: by how much each row is rotated (cos, then sin). Layers that rotate alike have the same tensor;
   * null: a layer whose rows are not rotated. Null as a whole: values, which are not.
   */
  readonly tables: readonly (Tensor | null)[] | null;
}

/** What `cacheRows` does in one go. */
export interface CacheRowsArguments {
  /** [T, nHeads · headDim], rotated in place; null: none. */
  readonly q: Tensor | null;
  /** [T, nKvHeads · headDim] before rotation; undefined behind. */
  readonly k: Tensor;
  /** [T, nKvHeads · headDim] */
  readonly v: Tensor;
  /** Cache, rows [capacity, nKvHeads · headDim]: rows toRow .. toRow + T - 1 become k rotated, */
  readonly keys: Tensor;
  /** and v. */
  readonly values: Tensor;
  readonly toRow: number;
  /** [P, 2, rotaryDims/2] (cos, then sin); null: nothing is rotated. */
  readonly table: Tensor | null;
  /** i32 [T]: rows of the table. */
  readonly positions: Tensor;
  /** Of q and of k: heads apart, the same. */
  readonly queryLayout: RopeLayout;
  readonly keyLayout: RopeLayout;
}

/** A row of a pass that is the next token of a sequence of its own. */
export interface StepSequence {
  /** Cache, rows [capacity, nKvHeads · headDim]: positions 0 .. base - 1 are filled, and row `base` becomes this token's. */
  readonly keys: Tensor;
  readonly values: Tensor;
  readonly base: number;
  /** Row of the table. */
  readonly position: number;
}

/** One token of each of several sequences on its way through attention. */
export interface StepArguments
  extends Pick<AttentionArguments, 'nHeads' | 'nKvHeads' | 'headDim' | 'scale' | 'window'> {
  /** [S, nHeads · headDim] before rotation; undefined behind. */
  readonly q: Tensor;
  /** [S, nKvHeads · headDim] before rotation; undefined behind. */
  readonly k: Tensor;
  readonly v: Tensor; // [S, nKvHeads · headDim]
  readonly out: Tensor; // [S, nHeads · headDim]
  /** [P, 2, rotaryDims/2] (cos, then sin); null: nothing is rotated. */
  readonly table: Tensor | null;
  /** Of a head. */
  readonly rotation: Pick<RopeLayout, 'rotaryDims' | 'layout'>;
  /** S of them, whose caches share no memory. */
  readonly sequences: readonly StepSequence[];
}

/** What gates a feed-forward: x σ(x), or GELU in its tanh form (Hendrycks and Gimpel 2016). */
export type GatedActivation = 'silu' | 'gelu-tanh';

/** How `route` chooses and weights experts; src/checkpoint/types.ts says what each field means. */
export interface RouteRule {
  readonly score: 'softmax' | 'selected-softmax' | 'sigmoid';
  readonly renormalise: boolean;
  readonly scale: number;
  readonly groups: number;
  readonly topGroups: number;
  readonly groupScore: 'max' | 'top2';
}

/** Columns of the numbers that `logitStats` gives for a row, f32 [rows, STAT_NUMBERS]. */
export const STAT = { max: 0, logSumExp: 1, shannon: 2, tsallis: 3, targetLogProbability: 4, runnerUp: 5 } as const;
export const STAT_NUMBERS = 6;

/** Columns of its places, i32 [rows, STAT_PLACES]: where the largest logit stands, and the second; the first of equals. */
export const STAT_PLACE = { argmax: 0, runnerUp: 1 } as const;
export const STAT_PLACES = 2;

/** Tensors that operations take many of at once. */
export interface TensorPool {
  readonly name: string;
  /** Tensors of about the same size that will soon be asked for, too. */
  readonly more: number;
}

export interface DeviceStats {
  /** Live tensors that own memory, and their bytes. */
  readonly tensors: number;
  readonly bytes: number;
  /** Most bytes ever held at once, scratch and staging included. */
  readonly peakBytes: number;
  /** Bytes that the scratch arena holds. */
  readonly scratchBytes: number;
}

declare const arena: unique symbol;
/** A point of the scratch arena to return to: what it holds is the device's own. */
export interface ArenaMark {
  readonly [arena]: true;
}

export interface Device {
  readonly kind: 'wasm' | 'webgpu';
  /** What was chosen at start, for people: instruction set, micro-kernels. */
  readonly description: Readonly<Record<string, string>>;
  /** Whether operations run while the program goes on: what will be needed for sure is then better called for before results are read. */
  readonly asynchronous: boolean;

  // ---- memory
  /**
   * A zeroed tensor in row-major layout that lives until disposed. With a pool: where a device can, in one piece of memory with others of that pool, such as
   * caches that `attendEach` takes together. @throws E_OUT_OF_MEMORY, or with the next `read` or `flush`
   */
  tensor(type: ElementType, shape: readonly number[], pool?: TensorPool): Tensor;
  /** A tensor of undefined content in the arena: gone at the next `reset` to an earlier mark. */
  scratch(type: ElementType, shape: readonly number[]): Tensor;
  mark(): ArenaMark;
  reset(mark: ArenaMark): void;
  /** Rows first .. first + count - 1 of a row-major tensor, sharing its memory. */
  rows(t: Tensor, first: number, count: number): Tensor;
  /** Copies data in, from row-major JavaScript memory, at an element offset. */
  write(t: Tensor, data: TensorData, offset?: number): void;
  /** The content of a row-major tensor as it is at the call, when all work before is done. */
  read(t: Tensor): Promise<TensorData>;
  /** The same of several, in one readback: what is needed together is asked for together. */
  read(tensors: readonly Tensor[]): Promise<TensorData[]>;
  /** One of any element type, as bytes (little-endian), and back. */
  readBytes(t: Tensor): Promise<Uint8Array<ArrayBuffer>>;
  writeBytes(t: Tensor, bytes: Uint8Array): void;
  stats(): DeviceStats;
  /** In a debug build, where each live tensor was made. */
  liveTensors(): readonly string[];
  /** Frees everything. Tensors of a closed device count as disposed. */
  close(): void;

  // ---- weights
  /** Reads a linear layer [out, in] into panels, straight into the device's memory. @throws E_TENSOR_VALUE on NaN */
  loadMatrix(source: WeightSource): Promise<Tensor>;
  /** Reads matrices of one type and shape, those of the experts of a layer, as one stack [E, out, in]. @throws as `loadMatrix` */
  loadMatrices(sources: readonly WeightSource[]): Promise<Tensor>;
  /** One matrix [out, in] of a stack, sharing its memory. */
  matrix(stack: Tensor, index: number): Tensor;
  /** Reads a norm's or bias's vector as f32 [n]. */
  loadVector(source: WeightSource): Promise<Tensor>;

  // ---- products
  /**
   * outs[i][T, Ni] = x[T, K] · weights[i][Ni, K]^T. Several weights share the packing of one x. `int8` asks for quantised
   * activations where the weight is quantised; see `Precision`.
   *
   * @param alone each row gets the bits that it gets as the only one, whatever its company: rows of texts that know nothing of each other.
   *   Meant for few rows; many are slower than without. Default false
   */
  linear(x: Tensor, weights: readonly Tensor[], outs: readonly Tensor[], precision: Precision, alone?: boolean): void;
  /** c[M, N] = alpha · op(a) · op(b) (+ c): row-major f32, op transposing as told. */
  matmul(a: Tensor, b: Tensor, c: Tensor, options?: MatmulOptions): void;
  /** out[T, K] = weight[ids[t], :]; ids [T] i32, weight in panels. */
  embed(ids: Tensor, weight: Tensor, out: Tensor): void;

  // ---- layers; all on row-major f32, in place where told
  /** out = x / sqrt(mean(x²) + eps) · weight over groups of weight.length elements (whole rows, or each head); out may be x. */
  rmsNorm(x: Tensor, weight: Tensor, out: Tensor, eps: number): void;
  /** residual += x; out = rmsNorm(residual): three tensors. */
  addRmsNorm(x: Tensor, residual: Tensor, weight: Tensor, out: Tensor, eps: number): void;
  /**
   * Rotates x [T, heads · headDim] in place by row positions[t] of the table [P, 2, rotaryDims/2] (cos, then sin). positions:
   * i32 [T], or one row number for all: a shift by one delta, exact because rotations about one axis add.
   */
  rope(x: Tensor, table: Tensor, positions: Tensor | number, layout: RopeLayout): void;
  /** `rope` of q and k, and k and v to rows of a cache: what stands between the projections and attention, one operation where each costs. */
  cacheRows(args: CacheRowsArguments): void;
  attention(args: AttentionArguments): void;
  /**
   * `cacheRows` and `attention` of one token of each of several sequences, each with the bits that it gets alone: on a GPU in as many commands as for one.
   */
  attendEach(args: StepArguments): void;
  /** Rows of f32 [rows, heads · headDim] to rows toRow .. of stored ones; i8: symmetric, scale = largest of a row's head / 127. */
  storeRows(from: Tensor, to: StoredRows, toRow: number, heads: number): void;
  /** Stored rows to f32 rows of the cache, which has all layers, rotated. */
  placeRows(args: PlaceArguments): void;
  /** out = act(gate) · up; out may be gate. */
  gatedActivation(kind: GatedActivation, gate: Tensor, up: Tensor, out: Tensor): void;
  /** y += x, same shape. */
  add(x: Tensor, y: Tensor): void;
  /** y[T, N] += bias[N]. */
  addBias(bias: Tensor, y: Tensor): void;
  /** x *= factor. */
  scale(x: Tensor, factor: number): void;
  /** out[t] = coefficients[t, column] · x[t]; x and out [T, r], coefficients [T, E]; out may be x. */
  scaleRows(x: Tensor, coefficients: Tensor, column: number, out: Tensor): void;
  /** Rows become their softmax, in place. */
  softmax(x: Tensor): void;
  /** to[toRow ..] = from[..]: rows of equal width and type; from may be other rows of what `to` is a view of. */
  copyRows(from: Tensor, to: Tensor, toRow: number): void;
  /** out[t] = x[t, column]: x [T, C] and out [T] of f32 or of i32. */
  column(x: Tensor, column: number, out: Tensor): void;
  /** Element by element to another tensor: f32, f16 and bf16 to themselves, and to and from f32. */
  cast(from: Tensor, to: Tensor): void;

  // ---- experts: a token's k choices are its slots, t · k + j; all f32 but for i32 places, orders and offsets
  /**
   * The k experts of each token, by descending score, the lower number first of equals, and their weights: logits [T, E] to
   * places [T, k] and weights [T, k], k at most 64. bias [E] is added to scores for choosing alone; null: none.
   */
  route(logits: Tensor, bias: Tensor | null, rule: RouteRule, places: Tensor, weights: Tensor): void;
  /**
   * Sorts slots by their expert, stably: places [T, k] to order [T · k], and offsets [E + 1], where each expert's begin in it.
   */
  dispatch(places: Tensor, order: Tensor, offsets: Tensor): void;
  /** out[i] = the row of x [T, d] of the token that slot order[i] belongs to: x in the order of experts, [T · k, d]. */
  gatherRows(x: Tensor, order: Tensor, out: Tensor): void;
  /**
   * `linear` for rows that belong to different experts: rows offsets[e] .. offsets[e + 1] - 1 of x [R, K] meet matrix e of the stack
   * weights[i] [E, Ni, K] and give the same rows of outs[i] [R, Ni]; rows before offsets[0] and from offsets[E] on stay as they are.
   * Offsets stay on the device: whoever calls this does not know them. alone: as in `linear`.
   */
  linearGrouped(
    x: Tensor,
    offsets: Tensor,
    weights: readonly Tensor[],
    outs: readonly Tensor[],
    precision: Precision,
    alone?: boolean,
  ): void;
  /**
   * out[t] = Σ over its slots, in their order, of weights[t, j] · the row of y [T · k, d] that stands for the slot in `order`.
   */
  combine(y: Tensor, order: Tensor, weights: Tensor, out: Tensor): void;
  /** x[t] *= sigmoid(gate[t]); gate [T, 1], x [T, d]. */
  sigmoidScale(gate: Tensor, x: Tensor): void;

  // ---- logits
  /**
   * numbers f32 [T, STAT_NUMBERS] and places i32 [T, STAT_PLACES], columns as in `STAT` and `STAT_PLACE`; targets i32 [T] or null, below 0:
   * none (its log-probability is 0). The Tsallis entropy is that of order q = tsallisOrder > 0, (1 − Σ p^q) / (q − 1) (Tsallis 1988), which goes to
   * Shannon's as q goes to 1 and is Shannon's there, at no cost. A logit may be −∞, but not all of a row.
   */
  logitStats(logits: Tensor, targets: Tensor | null, tsallisOrder: number, numbers: Tensor, places: Tensor): void;
  /** The k largest of one row, descending, ties by the lower place: values f32 [k], places i32 [k]. */
  topK(logits: Tensor, k: number, values: Tensor, places: Tensor): void;

  /**
   * Resolves when all work enqueued so far is done. Where memory is found wanting behind the caller's back, the next `read` or `flush` after
   * an operation rejects. @throws E_OUT_OF_MEMORY, E_DEVICE_LOST
   */
  flush(): Promise<void>;
  /**
   * Called once when what the device computes on is gone, or at once if it is, never within an operation, with an error of code
   * `E_DEVICE_LOST` and what is known as its cause. All that can be done with the device then is to close it: calls throw, or reject, with
   * that code; the wasm device with `E_WORKER_LOST`, since what it lost is a lane.
   */
  onLost(callback: (error: EspalierError) => void): void;
}
