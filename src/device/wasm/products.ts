import { elements, heightOf, widthOf } from '../checks/tensor.ts';
import type { ElementType, MatmulOptions, Precision, Tensor } from '../device.ts';
import { expertGroups } from './expert-groups.ts';
import { DOT, GROUP, type Kernels, MICRO, PANEL_TYPE } from './kernels.ts';
import { type Call, evenly, type Lanes } from './lanes.ts';
import type { Arena, WasmMemory } from './memory.ts';
import { addressOf, type WasmTensor } from './tensor.ts';
import type { Tuning } from './tune.ts';

/** Addresses of quantised activations: tiles, or rows each alone (all but the codes interleaved in `scales`). */
interface QuantisedRows {
  readonly codes: number;
  readonly scales: number;
  readonly sums: number;
  readonly places: number;
}

/** One product of `linear`: a matrix in panels and where its result goes. */
interface Layer {
  readonly type: ElementType;
  readonly at: number;
  readonly shift: number;
  readonly n: number;
  readonly y: number;
}

/** The rows of one expert, and what they meet. */
interface Group {
  /** Address of the first. */
  readonly x: number;
  readonly rows: number;
  readonly layers: readonly Layer[];
}

/** What unpacking a panel costs, in rows that meet it. */
const UNPACKING = 4;
/** Fewest rows without company of which three or four go together (assembly/gemv.ts). */
const FEWEST = 3;
/** Among kinds of quantised rows, which have the numbers of dots: rows as they are, by fours. */
const FOURS = -1;
/** Multiply-adds below which a product is not worth a command to the lanes. */
export const FEW = 1 << 17;

/** The matrix products of the wasm device: which kernel meets which weight, the scratch that it needs, and each lane's part. */
export class Products {
  readonly #kernels: Kernels;
  readonly #memory: WasmMemory;
  readonly #arena: Arena;
  readonly #tuning: Tuning;
  readonly #lanes: Lanes;

  constructor(kernels: Kernels, memory: WasmMemory, arena: Arena, tuning: Tuning, lanes: Lanes) {
    this.#kernels = kernels;
    this.#memory = memory;
    this.#arena = arena;
    this.#tuning = tuning;
    this.#lanes = lanes;
  }

  /** As Device.linear. */
  linear(x: Tensor, weights: readonly Tensor[], outs: readonly Tensor[], precision: Precision, alone: boolean): void {
    const at = addressOf(x);
    const [rows, k] = [heightOf(x), widthOf(x)];
    const layers = weights.map((w, i): Layer => {
      return {
        type: w.type,
        at: addressOf(w),
        shift: (w as WasmTensor).shifts[0]!,
        n: w.shape[0]!,
        y: addressOf(outs[i]!),
      };
    });
    const mark = this.#arena.mark();
    const quantised = new Map<number, QuantisedRows>();
    const columns = layers.reduce((sum, { n }) => sum + n, 0);
    // the exact path packs x for each part, the quantised one has packed it before
    const single = alone || rows === 1;
    const fine = single || precision === 'exact' || layers.some(({ type }) => !isQuantised(type)) ? 1 : 4;
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
      const call = this.#caller(layer, at, rows, single, k, precision, quantised, scratch);
      for (let part = 0; part < parts; part++) {
        const first = Math.max(0, bounds[part]! - before);
        const last = Math.min(panels[i]!, bounds[part + 1]! - before);
        if (first < last) calls[part]!.push(call(first, last, part));
      }
      before += panels[i]!;
    }
    this.#lanes.dispatch(calls);
    this.#arena.reset(mark);
  }

  /** As Device.linearGrouped. The offsets are read, since this memory is at hand. */
  linearGrouped(
    x: Tensor,
    offsets: Tensor,
    weights: readonly Tensor[],
    outs: readonly Tensor[],
    precision: Precision,
    alone: boolean,
  ): void {
    const k = widthOf(x);
    const experts = elements(offsets.shape) - 1;
    const groups = expertGroups(this.#memory, offsets, heightOf(x)).map(({ expert, first, rows }): Group => {
      const layers = weights.map((w, i): Layer => {
        const n = w.shape[1]!;
        const at = addressOf(w) + (expert * w.byteLength) / experts;
        const shift = (w as WasmTensor).shifts[expert]!;
        return { type: w.type, at, shift, n, y: addressOf(outs[i]!) + 4 * n * first };
      });
      return { x: addressOf(x) + 4 * k * first, rows, layers };
    });
    const mark = this.#arena.mark();
    const all = groups.flatMap(({ layers }) => layers);
    const single = alone || groups.every(({ rows }) => rows === 1);
    const fine = single || precision === 'exact' || all.some(({ type }) => !isQuantised(type)) ? 1 : 4;
    const work = groups.reduce((sum, { rows, layers }) => sum + rows * layers.reduce((n, layer) => n + layer.n, 0), 0);
    const parts = this.#lanes.parts(work * k, FEW, fine);
    const calls = Array.from({ length: parts }, (): Call[] => []);
    // as in `linear`, all panels of all weights in a row; one costs as much as rows meet it
    const cost = (rows: number) => (single || rows === 1 ? rows : rows + UNPACKING);
    const total = groups.reduce(
      (sum, { rows, layers }) => sum + cost(rows) * layers.reduce((n, layer) => n + Math.ceil(layer.n / 8), 0),
      0,
    );
    const scratch = Array.from({ length: parts }, () => 0);
    let before = 0;
    for (const { x: at, rows, layers } of groups) {
      const quantised = new Map<number, QuantisedRows>();
      for (const layer of layers) {
        const call = this.#caller(layer, at, rows, alone || rows === 1, k, precision, quantised, scratch);
        const panels = Math.ceil(layer.n / 8);
        const bound = (part: number) =>
          Math.min(panels, Math.max(0, Math.round(((total * part) / parts - before) / cost(rows))));
        for (let part = 0; part < parts; part++) {
          const [first, last] = [bound(part), bound(part + 1)];
          if (first < last) calls[part]!.push(call(first, last, part));
        }
        before += panels * cost(rows);
      }
    }
    // with many experts a part has more calls than its slot holds
    this.#lanes.dispatchLong(calls);
    this.#arena.reset(mark);
  }

  /**
   * How to call for a range of a layer's panels. quantised: the rows at x that are quantised already, by dot, because weights of
   * several types may share them; added to where a further kind is needed. single: rows that have no company.
   */
  #caller(
    layer: Layer,
    x: number,
    rows: number,
    single: boolean,
    k: number,
    precision: Precision,
    quantised: Map<number, QuantisedRows>,
    scratch: number[],
  ): (first: number, last: number, part: number) => Call {
    const { type } = layer;
    if (single && !isQuantised(type)) {
      const fours = quantised.get(FOURS) ?? this.#interleave(x, rows, k);
      quantised.set(FOURS, fours);
      return (first, last, part) => this.#denseCall(layer, rows, k, x, fours.codes, first, last, scratch, part);
    }
    if (!isQuantised(type) || precision === 'exact') {
      return (first, last, part) => this.#exactCall(layer, rows, k, x, first, last, scratch, part);
    }
    // the relaxed dots take codes of 7 bits
    const dot = codeBits(type) === 8 || precision === 'int16' ? DOT.wide : this.#tuning.dot;
    const q = quantised.get(dot) ?? this.#quantise(x, rows, single, k, dot);
    quantised.set(dot, q);
    return (first, last, part) => this.#quantisedCall(layer, dot, rows, single, k, q, first, last, scratch, part);
  }

  /** Rows that go by four, as the kernels of numbers take them. */
  #interleave(x: number, rows: number, k: number): QuantisedRows {
    const fours = rows < FEWEST ? 0 : this.#arena.allocate(16 * k * Math.ceil(rows / 4));
    for (let r = 0; r + FEWEST <= rows; r += 4) {
      this.#kernels.interleaveFour(x + 4 * k * r, 4 * k, Math.min(4, rows - r), k, fours + 4 * k * r);
    }
    return { codes: fours, scales: 0, sums: 0, places: 0 };
  }

  #quantise(x: number, rows: number, single: boolean, k: number, dot: number): QuantisedRows {
    const kernels = this.#kernels;
    const wide = dot === DOT.wide ? 1 : 0;
    const parts = this.#lanes.parts(rows * k, FEW / 4, 2);
    if (single) {
      const held = heldRows(rows);
      const [codes, scales] = [this.#arena.allocate(held * k * (1 + wide)), this.#arena.allocate((held * k) / 2)];
      kernels.quantiseRows(x, rows, k, wide, codes, scales, this.#arena.allocate(128 + 3 * k));
      return { codes, scales, sums: 0, places: 0 };
    }
    const temp = Array.from({ length: parts }, () => this.#arena.allocate(128 + k / 8));
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
    { type, at, shift, n, y }: Layer,
    dot: number,
    rows: number,
    single: boolean,
    k: number,
    q: QuantisedRows,
    first: number,
    last: number,
    scratch: number[],
    part: number,
  ): Call {
    const panels = PANEL_TYPE[type as 'q8_0'];
    if (!single || rows >= FEWEST) scratch[part] ||= this.#scratch(k);
    const { codes, scales, sums, places } = q;
    if (single) {
      const range = [panels, at, first, last, n, k, shift, dot] as const;
      return ['matvecQuantised', [...range, rows, codes, scales, y, 4 * n, scratch[part]!]];
    }
    return [
      'linearInt8',
      [dot, rows, k, n, codes, scales, sums, places, panels, at, shift, first, last, y, 4 * n, scratch[part]!],
    ];
  }

  /** The same of numbers, for rows that have no company. */
  #denseCall(
    { type, at, n, y }: Layer,
    rows: number,
    k: number,
    x: number,
    fours: number,
    first: number,
    last: number,
    scratch: number[],
    part: number,
  ): Call {
    if (rows >= FEWEST) scratch[part] ||= this.#scratch(k);
    const range = [PANEL_TYPE[type as 'f32'], at, first, last, n, k] as const;
    return ['matvecDense', [...range, rows, x, fours, y, 4 * n, scratch[part]!]];
  }

  /** The same with f32 activations. */
  #exactCall(
    { type, at, shift, n, y }: Layer,
    rows: number,
    k: number,
    x: number,
    first: number,
    last: number,
    scratch: number[],
    part: number,
  ): Call {
    const panels = PANEL_TYPE[type as 'f32'];
    scratch[part] ||= this.#scratch(k);
    const micro = this.#microOf(rows);
    return ['linearExact', [micro, rows, k, n, x, 4 * k, panels, at, shift, first, last, y, 4 * n, scratch[part]]];
  }

  /** The micro-kernel for so many rows: where the chosen one would compute many that are not there, the one of four. All give the same bits. */
  #microOf(rows: number): number {
    const { micro } = this.#tuning;
    const padded = (tile: number) => Math.ceil(rows / tile) * tile;
    if (padded(4) > 0.8 * padded(this.#kernels.microRows(micro))) return micro;
    return micro === MICRO.splat6Fused || micro === MICRO.lane4Fused ? MICRO.lane4Fused : MICRO.lane4;
  }

  /** What one lane needs for products of either kind. */
  #scratch(k: number): number {
    return this.#arena.allocate(Math.max(this.#kernels.linearInt8Scratch(k), this.#kernels.linearExactScratch()));
  }

  /** As Device.matmul. */
  matmul(a: Tensor, b: Tensor, c: Tensor, options: MatmulOptions): void {
    const [m, n] = [heightOf(c), widthOf(c)];
    const k = options.transposeA ? heightOf(a) : widthOf(a);
    const [aAt, bAt, cAt] = [addressOf(a), addressOf(b), addressOf(c)];
    const [alpha, accumulate] = [options.alpha ?? 1, options.accumulate ? 1 : 0];
    if ((m === 1 || options.alone) && options.transposeB && !options.transposeA) {
      const ranges = evenly(n, this.#lanes.parts(n * k, FEW, 1), 4);
      for (let row = 0; row < m; row++) {
        const [x, y] = [aAt + 4 * k * row, cAt + 4 * n * row];
        this.#lanes.run('matvecRows', ranges, (from, to) => [x, bAt, from, to, k, alpha, y, accumulate]);
      }
      return;
    }
    const mark = this.#arena.mark();
    const [aRow, aK] = options.transposeA ? [4, 4 * widthOf(a)] : [4 * widthOf(a), 4];
    const [bK, bColumn] = options.transposeB ? [4, 4 * widthOf(b)] : [4 * widthOf(b), 4];
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

/** Rows that stand in memory for `rows` that go by fours as far as they do (assembly/gemv.ts). */
function heldRows(rows: number): number {
  return rows % 4 === 3 ? rows + 1 : rows;
}

/** Rows and columns of a grid of tiles over [m, n] that packs least: each tile packs its rows of A and columns of B. */
export function grid(tiles: number, m: number, n: number): [number, number] {
  let best: [number, number] = [1, tiles];
  for (let down = 1; down <= tiles; down++) {
    if (tiles % down) continue;
    const across = tiles / down;
    if (m / down + n / across < m / best[0] + n / best[1]) best = [down, across];
  }
  return best;
}

function isQuantised(type: ElementType): boolean {
  return codeBits(type) !== 0;
}

/** Bits of a weight's code; 0 where it is a number. */
function codeBits(type: ElementType): 0 | 4 | 8 {
  switch (type) {
    case 'q4_0':
    case 'q4_1':
      return 4;
    case 'q8_0':
    case 'q8_1':
      return 8;
    case 'f32':
    case 'f16':
    case 'bf16':
    case 'i32':
    case 'u32':
    case 'i8':
      return 0;
    default:
      return type satisfies never;
  }
}
