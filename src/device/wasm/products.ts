import type { MatmulOptions, Precision, Tensor } from '../device.ts';
import { DOT, GROUP, type Kernels, PANEL_TYPE } from './kernels.ts';
import type { Arena } from './memory.ts';
import { addressOf, rowsOf, shapeError, type WasmTensor, weightOf } from './tensor.ts';
import type { Tuning } from './tune.ts';

/** Addresses of quantised activations: tiles, or one row (all but the codes interleaved in `scales`). */
interface QuantisedRows {
  readonly codes: number;
  readonly scales: number;
  readonly sums: number;
  readonly places: number;
}

/** The matrix products of the wasm device: which kernel meets which weight, and the scratch that it needs. */
export class Products {
  readonly #kernels: Kernels;
  readonly #arena: Arena;
  readonly #tuning: Tuning;

  constructor(kernels: Kernels, arena: Arena, tuning: Tuning) {
    this.#kernels = kernels;
    this.#arena = arena;
    this.#tuning = tuning;
  }

  /** As Device.linear. */
  linear(x: Tensor, weights: readonly Tensor[], outs: readonly Tensor[], precision: Precision): void {
    const at = addressOf(x, 'linear', 'f32');
    const { rows, width: k } = rowsOf(x);
    if (outs.length !== weights.length) throw shapeError('linear', `${weights.length} weights into ${outs.length}`);
    const products = weights.map((weight, i) => {
      const w = weightOf(weight, 'linear');
      const [n, columns] = w.shape as [number, number];
      const y = addressOf(outs[i]!, 'linear', 'f32');
      const out = rowsOf(outs[i]!);
      if (columns !== k || out.width !== n || out.rows !== rows) {
        throw shapeError('linear', `[${rows}, ${k}] · [${n}, ${columns}]ᵀ into [${out.rows}, ${out.width}]`);
      }
      return { w, n, y };
    });
    const mark = this.#arena.mark();
    // by dot: weights of several types may share one x
    const quantised = new Map<number, QuantisedRows>();
    for (const { w, n, y } of products) {
      const blocks = w.type === 'q8_0' || w.type === 'q4_0' || w.type === 'q4_1';
      if (blocks && precision !== 'exact') {
        const dot = w.type === 'q8_0' || precision === 'int16' ? DOT.wide : this.#tuning.dot;
        const q = quantised.get(dot) ?? this.#quantise(at, rows, k, dot);
        quantised.set(dot, q);
        this.#linearInt8(w, dot, rows, n, k, q, y);
      } else this.#linearExact(w, rows, n, k, at, y);
    }
    this.#arena.reset(mark);
  }

  #quantise(x: number, rows: number, k: number, dot: number): QuantisedRows {
    const kernels = this.#kernels;
    const wide = dot === DOT.wide ? 1 : 0;
    const temp = this.#arena.allocate(128 + k / 8);
    if (rows === 1) {
      const codes = this.#arena.allocate(k * (1 + wide));
      const scales = this.#arena.allocate(k / 2);
      kernels.quantiseRow(x, k, wide, codes, scales, temp);
      return { codes, scales, sums: 0, places: 0 };
    }
    const mr = kernels.tileRows(dot);
    const tiles = Math.ceil(rows / mr);
    const codes = this.#arena.allocate(tiles * mr * k * (1 + wide));
    const scales = this.#arena.allocate((tiles * mr * k) / 8);
    // sums and one channel apart; rows in groups (assembly/quantise.ts)
    const sums = this.#arena.allocate((tiles * mr * k) / 4);
    const places = this.#arena.allocate((Math.ceil(rows / GROUP) * k) / 8);
    kernels.quantiseTiles(x, 4 * k, rows, k, mr, wide, codes, scales, sums, places, temp);
    return { codes, scales, sums, places };
  }

  #linearInt8(w: WasmTensor, dot: number, rows: number, n: number, k: number, q: QuantisedRows, y: number): void {
    const type = PANEL_TYPE[w.type as 'q8_0'];
    const panels = Math.ceil(n / 8);
    if (rows === 1) {
      this.#kernels.matvecQuantised(type, w.at, 0, panels, n, k, w.shift, dot, q.codes, q.scales, y);
      return;
    }
    const mark = this.#arena.mark();
    const scratch = this.#arena.allocate(this.#kernels.linearInt8Scratch(k));
    this.#kernels.linearInt8(
      dot,
      rows,
      k,
      n,
      q.codes,
      q.scales,
      q.sums,
      q.places,
      type,
      w.at,
      w.shift,
      0,
      panels,
      y,
      4 * n,
      scratch,
    );
    this.#arena.reset(mark);
  }

  #linearExact(w: WasmTensor, rows: number, n: number, k: number, x: number, y: number): void {
    const type = PANEL_TYPE[w.type as 'f32'];
    const panels = Math.ceil(n / 8);
    if (rows === 1 && (w.type === 'f32' || w.type === 'f16' || w.type === 'bf16')) {
      this.#kernels.matvecDense(type, w.at, 0, panels, n, k, x, y);
      return;
    }
    const mark = this.#arena.mark();
    const scratch = this.#arena.allocate(this.#kernels.linearExactScratch());
    this.#kernels.linearExact(
      this.#tuning.micro,
      rows,
      k,
      n,
      x,
      4 * k,
      type,
      w.at,
      w.shift,
      0,
      panels,
      y,
      4 * n,
      scratch,
    );
    this.#arena.reset(mark);
  }

  /** As Device.matmul. */
  matmul(a: Tensor, b: Tensor, c: Tensor, options: MatmulOptions): void {
    const left = rowsOf(a);
    const right = rowsOf(b);
    const out = rowsOf(c);
    const [m, k] = options.transposeA ? [left.width, left.rows] : [left.rows, left.width];
    const [k2, n] = options.transposeB ? [right.width, right.rows] : [right.rows, right.width];
    if (k !== k2 || out.rows !== m || out.width !== n) {
      throw shapeError('matmul', `[${m}, ${k}] · [${k2}, ${n}] into [${out.rows}, ${out.width}]`);
    }
    const [aAt, bAt, cAt] = [a, b, c].map((t) => addressOf(t, 'matmul', 'f32')) as [number, number, number];
    const mark = this.#arena.mark();
    const scratch = this.#arena.allocate(this.#kernels.gemmScratch(n));
    const [aRow, aK] = options.transposeA ? [4, 4 * left.width] : [4 * left.width, 4];
    const [bK, bColumn] = options.transposeB ? [4, 4 * right.width] : [4 * right.width, 4];
    this.#kernels.gemm(
      this.#tuning.micro,
      m,
      n,
      k,
      options.alpha ?? 1,
      aAt,
      aRow,
      aK,
      bAt,
      bK,
      bColumn,
      cAt,
      4 * n,
      options.accumulate ? 1 : 0,
      scratch,
    );
    this.#arena.reset(mark);
  }
}
