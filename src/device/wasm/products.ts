import { elements, heightOf, widthOf } from '../checks/tensor.ts';
import type { ElementType, MatmulOptions, Precision, Tensor } from '../device.ts';
import type { Call, LaneMemory, RangedCall, SharedCall } from './calls.ts';
import { expertGroups } from './expert-groups.ts';
import { DOT, GROUP, type Kernels, MICRO, PANEL_TYPE } from './kernels.ts';
import { evenly, type Lanes } from './lanes.ts';
import type { Arena, WasmMemory } from './memory.ts';
import { callOf, codeBits, grid, heldRows, isQuantised } from './product-parts.ts';
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

/** Memory for each lane. */
type Scratch = () => LaneMemory;
const NOTHING: LaneMemory = { at: 0, stride: 0 };

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
    const single = alone || rows === 1;
    const exact = precision === 'exact' || layers.some(({ type }) => !isQuantised(type));
    // the exact path packs x for each part, the quantised one has packed it before
    const parts = this.#lanes.parts(rows * k * columns, FEW, single || exact ? 1 : 4);
    if (!single && parts > 1 && layers.every(({ type }) => precision === 'exact' || !isQuantised(type))) {
      this.#exactGrid(layers, at, rows, columns, k, parts);
      this.#arena.reset(mark);
      return;
    }
    // all columns of all weights in a row, cut into equal ranges: one command however many weights there are
    const scratch = this.#scratch(k);
    const calls: SharedCall[] = [];
    let panels = 0;
    for (const layer of layers) {
      const count = Math.ceil(layer.n / 8);
      calls.push({ ...this.#cut(layer, at, rows, single, k, precision, quantised, scratch), before: panels, count });
      panels += count;
    }
    this.#lanes.share(panels, parts, calls);
    this.#arena.reset(mark);
  }

  /** Parts of rows and of columns, since each packs its rows of x and unpacks its columns of weights. */
  #exactGrid(layers: readonly Layer[], x: number, rows: number, columns: number, k: number, parts: number): void {
    const [down, across] = grid(parts, rows, columns);
    const heights = evenly(rows, down, this.#kernels.microRows(this.#microOf(rows)));
    const panels = layers.reduce((sum, { n }) => sum + Math.ceil(n / 8), 0);
    const widths = evenly(panels, across);
    const scratch = this.#scratch(k);
    const calls: Call[][] = [];
    for (let i = 0; i < down; i++) {
      const [row, height] = [heights[i]!, heights[i + 1]! - heights[i]!];
      for (let j = 0; height > 0 && j < across; j++) {
        const part: Call[] = [];
        let before = 0;
        for (const layer of layers) {
          const count = Math.ceil(layer.n / 8);
          const [first, last] = [Math.max(0, widths[j]! - before), Math.min(count, widths[j + 1]! - before)];
          const here = { ...layer, y: layer.y + 4 * layer.n * row };
          if (first < last) part.push(callOf(this.#exactCut(here, height, k, x + 4 * k * row, scratch), first, last));
          before += count;
        }
        if (part.length > 0) calls.push(part);
      }
    }
    this.#lanes.dispatchLong(calls);
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
    const scratch = this.#scratch(k);
    let before = 0;
    for (const { x: at, rows, layers } of groups) {
      const quantised = new Map<number, QuantisedRows>();
      for (const layer of layers) {
        const one = this.#cut(layer, at, rows, alone || rows === 1, k, precision, quantised, scratch);
        const panels = Math.ceil(layer.n / 8);
        const bound = (part: number) =>
          Math.min(panels, Math.max(0, Math.round(((total * part) / parts - before) / cost(rows))));
        for (let part = 0; part < parts; part++) {
          const [first, last] = [bound(part), bound(part + 1)];
          if (first < last) calls[part]!.push(callOf(one, first, last));
        }
        before += panels * cost(rows);
      }
    }
    // with many experts a part has more calls than its slot holds
    this.#lanes.dispatchLong(calls);
    this.#arena.reset(mark);
  }

  /**
   * How to call for panels of a layer. quantised: the rows at x that are quantised already, by dot, because weights of
   * several types may share them; added to where a further kind is needed. single: rows that have no company.
   */
  #cut(
    layer: Layer,
    x: number,
    rows: number,
    single: boolean,
    k: number,
    precision: Precision,
    quantised: Map<number, QuantisedRows>,
    scratch: Scratch,
  ): RangedCall {
    const { type } = layer;
    if (single && !isQuantised(type)) {
      const fours = quantised.get(FOURS) ?? this.#interleave(x, rows, k);
      quantised.set(FOURS, fours);
      return this.#denseCut(layer, rows, k, x, fours.codes, scratch);
    }
    if (!isQuantised(type) || precision === 'exact') return this.#exactCut(layer, rows, k, x, scratch);
    // the relaxed dots take codes of 7 bits
    const dot = codeBits(type) === 8 || precision === 'int16' ? DOT.wide : this.#tuning.dot;
    const q = quantised.get(dot) ?? this.#quantise(x, rows, single, k, dot);
    quantised.set(dot, q);
    return this.#quantisedCut(layer, dot, rows, single, k, q, scratch);
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
    const { at: temp, stride } = this.#lanes.scratch(this.#arena, 128 + k / 8);
    const mr = kernels.tileRows(dot);
    const tiles = Math.ceil(rows / mr);
    const codes = this.#arena.allocate(tiles * mr * k * (1 + wide));
    const scales = this.#arena.allocate((tiles * mr * k) / 8);
    // sums and one channel apart; rows in groups (assembly/quantise.ts)
    const sums = this.#arena.allocate((tiles * mr * k) / 4);
    const groups = Math.ceil(rows / GROUP);
    const places = this.#arena.allocate((groups * k) / 8);
    if (!wide) {
      const values = [x, 4 * k, rows, k, 0, 0, places, temp] as const;
      this.#lanes.share(groups, parts, [
        { name: 'placeChannels', values, range: 4, before: 0, count: groups, own: { index: 7, stride } },
      ]);
    }
    const values = [x, 4 * k, rows, k, mr, wide, 0, 0, codes, scales, sums, places, temp] as const;
    this.#lanes.share(tiles, parts, [
      { name: 'quantiseTiles', values, range: 6, before: 0, count: tiles, own: { index: 12, stride } },
    ]);
    return { codes, scales, sums, places };
  }

  /** With quantised activations. */
  #quantisedCut(
    { type, at, shift, n, y }: Layer,
    dot: number,
    rows: number,
    single: boolean,
    k: number,
    { codes, scales, sums, places }: QuantisedRows,
    scratch: Scratch,
  ): RangedCall {
    const panels = PANEL_TYPE[type as 'q8_0'];
    const { at: temp, stride } = single && rows < FEWEST ? NOTHING : scratch();
    if (single) {
      const values = [panels, at, 0, 0, n, k, shift, dot, rows, codes, scales, y, 4 * n, temp] as const;
      return { name: 'matvecQuantised', values, range: 2, own: { index: 13, stride } };
    }
    const inputs = [dot, rows, k, n, codes, scales, sums, places] as const;
    const values = [...inputs, panels, at, shift, 0, 0, y, 4 * n, temp] as const;
    return { name: 'linearInt8', values, range: 11, own: { index: 15, stride } };
  }

  /** The same of numbers, for rows that have no company. */
  #denseCut(
    { type, at, n, y }: Layer,
    rows: number,
    k: number,
    x: number,
    fours: number,
    scratch: Scratch,
  ): RangedCall {
    const { at: temp, stride } = rows < FEWEST ? NOTHING : scratch();
    const values = [PANEL_TYPE[type as 'f32'], at, 0, 0, n, k, rows, x, fours, y, 4 * n, temp] as const;
    return { name: 'matvecDense', values, range: 2, own: { index: 11, stride } };
  }

  /** The same with f32 activations. */
  #exactCut({ type, at, shift, n, y }: Layer, rows: number, k: number, x: number, scratch: Scratch): RangedCall {
    const panels = PANEL_TYPE[type as 'f32'];
    const { at: temp, stride } = scratch();
    const micro = this.#microOf(rows);
    const values = [micro, rows, k, n, x, 4 * k, panels, at, shift, 0, 0, y, 4 * n, temp] as const;
    return { name: 'linearExact', values, range: 9, own: { index: 13, stride } };
  }

  /** The micro-kernel for so many rows: where the chosen one would compute many that are not there, the one of four. All give the same bits. */
  #microOf(rows: number): number {
    const { micro } = this.#tuning;
    const padded = (tile: number) => Math.ceil(rows / tile) * tile;
    if (padded(4) > 0.8 * padded(this.#kernels.microRows(micro))) return micro;
    return micro === MICRO.splat6Fused || micro === MICRO.lane4Fused ? MICRO.lane4Fused : MICRO.lane4;
  }

  /** What the lanes need for products of either kind, made when it is first asked for. */
  #scratch(k: number): Scratch {
    let made: LaneMemory | null = null;
    return () => {
      const { linearInt8Scratch, linearExactScratch } = this.#kernels;
      made ??= this.#lanes.scratch(this.#arena, Math.max(linearInt8Scratch(k), linearExactScratch()));
      return made;
    };
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
    const widest = Math.max(...columns.slice(1).map((end, j) => end - columns[j]!));
    const { at: temp, stride } = this.#lanes.scratch(this.#arena, this.#kernels.gemmScratch(widest));
    for (let i = 0; i < down; i++) {
      for (let j = 0; j < across; j++) {
        const [r, q] = [rows[i]!, columns[j]!];
        const [height, width] = [rows[i + 1]! - r, columns[j + 1]! - q];
        if (parts > 1 && height * width === 0) continue;
        const [from, with_, to] = [aAt + r * aRow, bAt + q * bColumn, cAt + 4 * (r * n + q)];
        calls.push([
          [
            'gemm',
            [micro, height, width, k, alpha, from, aRow, aK, with_, bK, bColumn, to, 4 * n, accumulate, temp],
            { index: 14, stride },
          ],
        ]);
      }
    }
    this.#lanes.dispatch(calls);
    this.#arena.reset(mark);
  }
}
