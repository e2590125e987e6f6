import type { MatmulOptions, Precision, Tensor } from '../device.ts';
import { DOT, GROUP, type Kernels, PANEL_TYPE } from './kernels.ts';
import { type Call, evenly, type Lanes } from './lanes.ts';
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

/** One product of `linear`. */
interface Layer {
  readonly w: WasmTensor;
  readonly n: number;
  readonly y: number;
}

/** Multiply-adds below which a product is not worth a command to the lanes. */
const FEW = 1 << 17;

/** The matrix products of the wasm device: which kernel meets which weight, the scratch that it needs, and each lane's part. */
export class Products {
  readonly #kernels: Kernels;
  readonly #arena: Arena;
  readonly #tuning: Tuning;
  readonly #lanes: Lanes;

  constructor(kernels: Kernels, arena: Arena, tuning: Tuning, lanes: Lanes) {
    this.#kernels = kernels;
    this.#arena = arena;
    this.#tuning = tuning;
    this.#lanes = lanes;
  }

  /** As Device.linear. */
  linear(x: Tensor, weights: readonly Tensor[], outs: readonly Tensor[], precision: Precision): void {
    const at = addressOf(x, 'linear', 'f32');
    const { rows, width: k } = rowsOf(x);
    if (outs.length !== weights.length) throw shapeError('linear', `${weights.length} weights into ${outs.length}`);
    const layers = weights.map((weight, i): Layer => {
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
    const columns = layers.reduce((sum, { n }) => sum + n, 0);
    // the exact path packs x for each part, the quantised one has packed it before
    const fine = rows === 1 || precision === 'exact' || layers.some(({ w }) => !isQuantised(w)) ? 1 : 4;
    const parts = this.#lanes.parts(rows * k * columns, FEW, fine);
    const calls = Array.from({ length: parts }, (): Call[] => []);
    // All columns of all weights in a row, cut into equal ranges: one command however many weights there are.
    const panels = layers.map(({ n }) => Math.ceil(n / 8));
    const bounds = evenly(
      panels.reduce((sum, count) => sum + count, 0),
      parts,
    );
    const scratch = Array.from({ length: parts }, () => 0);
    let before = 0;
    for (const [i, layer] of layers.entries()) {
      const { w } = layer;
      let dot: number | null = null;
      let q: QuantisedRows | null = null;
      if (isQuantised(w) && precision !== 'exact') {
        dot = w.type === 'q8_0' || precision === 'int16' ? DOT.wide : this.#tuning.dot;
        q = quantised.get(dot) ?? this.#quantise(at, rows, k, dot);
        quantised.set(dot, q);
      }
      for (let part = 0; part < parts; part++) {
        const first = Math.max(0, bounds[part]! - before);
        const last = Math.min(panels[i]!, bounds[part + 1]! - before);
        if (first >= last) continue;
        calls[part]!.push(
          q === null
            ? this.#exactCall(layer, rows, k, at, first, last, scratch, part)
            : this.#quantisedCall(layer, dot!, rows, k, q, first, last, scratch, part),
        );
      }
      before += panels[i]!;
    }
    this.#lanes.dispatch(calls);
    this.#arena.reset(mark);
  }

  #quantise(x: number, rows: number, k: number, dot: number): QuantisedRows {
    const kernels = this.#kernels;
    const wide = dot === DOT.wide ? 1 : 0;
    const parts = this.#lanes.parts(rows * k, FEW / 4, 2);
    const temp = Array.from({ length: parts }, () => this.#arena.allocate(128 + k / 8));
    if (rows === 1) {
      const codes = this.#arena.allocate(k * (1 + wide));
      const scales = this.#arena.allocate(k / 2);
      kernels.quantiseRow(x, k, wide, codes, scales, temp[0]!);
      return { codes, scales, sums: 0, places: 0 };
    }
    const mr = kernels.tileRows(dot);
    const tiles = Math.ceil(rows / mr);
    const codes = this.#arena.allocate(tiles * mr * k * (1 + wide));
    const scales = this.#arena.allocate((tiles * mr * k) / 8);
    // sums and one channel apart; rows in groups (assembly/quantise.ts)
    const sums = this.#arena.allocate((tiles * mr * k) / 4);
    const groups = Math.ceil(rows / GROUP);
    const places = this.#arena.allocate((groups * k) / 8);
    if (!wide) {
      this.#lanes.run('placeChannels', evenly(groups, parts), (first, last, part) => {
        return [x, 4 * k, rows, k, first, last, places, temp[part]!];
      });
    }
    this.#lanes.run('quantiseTiles', evenly(tiles, parts), (first, last, part) => {
      return [x, 4 * k, rows, k, mr, wide, first, last, codes, scales, sums, places, temp[part]!];
    });
    return { codes, scales, sums, places };
  }

  /** The panels first .. last - 1 of a product with quantised activations. scratch: of each part, made when first needed. */
  #quantisedCall(
    { w, n, y }: Layer,
    dot: number,
    rows: number,
    k: number,
    q: QuantisedRows,
    first: number,
    last: number,
    scratch: number[],
    part: number,
  ): Call {
    const type = PANEL_TYPE[w.type as 'q8_0'];
    if (rows === 1) {
      return ['matvecQuantised', [type, w.at, first, last, n, k, w.shift, dot, q.codes, q.scales, y]];
    }
    scratch[part] ||= this.#scratch(k);
    const { codes, scales, sums, places } = q;
    return [
      'linearInt8',
      [dot, rows, k, n, codes, scales, sums, places, type, w.at, w.shift, first, last, y, 4 * n, scratch[part]],
    ];
  }

  /** The same with f32 activations. */
  #exactCall(
    { w, n, y }: Layer,
    rows: number,
    k: number,
    x: number,
    first: number,
    last: number,
    scratch: number[],
    part: number,
  ): Call {
    const type = PANEL_TYPE[w.type as 'f32'];
    if (rows === 1 && (w.type === 'f32' || w.type === 'f16' || w.type === 'bf16')) {
      return ['matvecDense', [type, w.at, first, last, n, k, x, y]];
    }
    scratch[part] ||= this.#scratch(k);
    const { micro } = this.#tuning;
    return ['linearExact', [micro, rows, k, n, x, 4 * k, type, w.at, w.shift, first, last, y, 4 * n, scratch[part]]];
  }

  /** What one lane needs for products of either kind. */
  #scratch(k: number): number {
    return this.#arena.allocate(Math.max(this.#kernels.linearInt8Scratch(k), this.#kernels.linearExactScratch()));
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
    const [aRow, aK] = options.transposeA ? [4, 4 * left.width] : [4 * left.width, 4];
    const [bK, bColumn] = options.transposeB ? [4, 4 * right.width] : [4 * right.width, 4];
    const [alpha, accumulate] = [options.alpha ?? 1, options.accumulate ? 1 : 0];
    const { micro } = this.#tuning;
    const parts = this.#lanes.parts(m * n * k, FEW);
    const [down, across] = grid(parts, m, n);
    const rows = evenly(m, down, this.#kernels.microRows(micro));
    const columns = evenly(n, across, 8);
    const calls: Call[][] = [];
    for (let i = 0; i < down; i++) {
      for (let j = 0; j < across; j++) {
        const [r, q] = [rows[i]!, columns[j]!];
        const [height, width] = [rows[i + 1]! - r, columns[j + 1]! - q];
        if (parts > 1 && height * width === 0) continue;
        const scratch = this.#arena.allocate(this.#kernels.gemmScratch(width));
        const [from, with_, to] = [aAt + r * aRow, bAt + q * bColumn, cAt + 4 * (r * n + q)];
        calls.push([
          [
            'gemm',
            [micro, height, width, k, alpha, from, aRow, aK, with_, bK, bColumn, to, 4 * n, accumulate, scratch],
          ],
        ]);
      }
    }
    this.#lanes.dispatch(calls);
    this.#arena.reset(mark);
  }
}

/** Rows and columns of a grid of tiles over [m, n] that packs least: each tile packs its rows of A and columns of B. */
function grid(tiles: number, m: number, n: number): [number, number] {
  let best: [number, number] = [1, tiles];
  for (let down = 1; down <= tiles; down++) {
    if (tiles % down) continue;
    const across = tiles / down;
    if (m / down + n / across < m / best[0] + n / best[1]) best = [down, across];
  }
  return best;
}

function isQuantised({ type }: WasmTensor): boolean {
  return type === 'q8_0' || type === 'q4_0' || type === 'q4_1';
}
