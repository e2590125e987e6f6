import { elements, heightOf, widthOf } from '../checks/tensor.ts';
import type { GatedActivation, RopeLayout, Tensor } from '../device.ts';
import { type KernelName, type Kernels, ROPE_LAYOUT } from './kernels.ts';
import { evenly, type Lanes } from './lanes.ts';
import { addressOf } from './tensor.ts';

/** Elements below which an operation on rows is not worth a command to the lanes. */
const FEW = 1 << 14;
/** Elements of a range without rows, in whole cache lines. */
const LINE = 16;

const GATED = { silu: 'siluMultiply', 'gelu-tanh': 'geluMultiply' } as const satisfies Record<
  GatedActivation,
  KernelName
>;

/** The operations of the wasm device that work row by row, shared among lanes by rows. */
export class Layers {
  readonly #lanes: Lanes;

  constructor(lanes: Lanes) {
    this.#lanes = lanes;
  }

  rmsNorm(x: Tensor, weight: Tensor, out: Tensor, eps: number): void {
    const n = elements(weight.shape);
    const [from, w, to] = [addressOf(x), addressOf(weight), addressOf(out)];
    this.#run('rmsNorm', elements(x.shape) / n, n, (a, b) => [a, b, n, eps, from, 4 * n, w, to, 4 * n]);
  }

  addRmsNorm(x: Tensor, residual: Tensor, weight: Tensor, out: Tensor, eps: number): void {
    const n = widthOf(x);
    const [from, sum, w, to] = [addressOf(x), addressOf(residual), addressOf(weight), addressOf(out)];
    this.#run('addRmsNorm', heightOf(x), n, (a, b) => [a, b, n, eps, from, sum, w, to, 4 * n]);
  }

  rope(x: Tensor, table: Tensor, positions: Tensor | number, layout: RopeLayout): void {
    const width = widthOf(x);
    const { heads, headDim, rotaryDims } = layout;
    const interleaved = ROPE_LAYOUT[layout.layout];
    const [list, fixed] = typeof positions === 'number' ? [0, positions] : [addressOf(positions), 0];
    const [at, tableAt, tableRows] = [addressOf(x), addressOf(table), elements(table.shape) / rotaryDims];
    this.#run('rope', heightOf(x), width, (first, last) => {
      const shape = [first, last, heads, headDim, rotaryDims, interleaved] as const;
      return [...shape, at, 4 * width, list, fixed, tableAt, tableRows];
    });
  }

  gatedActivation(kind: GatedActivation, gate: Tensor, up: Tensor, out: Tensor): void {
    const [n, stride] = [widthOf(gate), 4 * widthOf(gate)];
    const [g, u, y] = [addressOf(gate), addressOf(up), addressOf(out)];
    this.#run(GATED[kind], heightOf(gate), n, (a, b) => [a, b, n, g, stride, u, stride, y, stride]);
  }

  add(x: Tensor, y: Tensor): void {
    const [from, to] = [addressOf(x), addressOf(y)];
    this.#run('add', elements(x.shape), 1, (first, last) => [last - first, from + 4 * first, to + 4 * first], LINE);
  }

  addBias(bias: Tensor, y: Tensor): void {
    const n = widthOf(y);
    this.#run('addBias', heightOf(y), n, (a, b) => [a, b, n, addressOf(bias), addressOf(y), 4 * n]);
  }

  scale(x: Tensor, factor: number): void {
    const at = addressOf(x);
    this.#run('scale', elements(x.shape), 1, (first, last) => [last - first, factor, at + 4 * first], LINE);
  }

  softmax(x: Tensor): void {
    const n = widthOf(x);
    this.#run('softmax', heightOf(x), n, (first, last) => [first, last, n, addressOf(x), 4 * n]);
  }

  /** As `Lanes.run`, for `rows` rows of `width` elements; few of them stay in this thread. */
  #run<K extends KernelName>(
    name: K,
    rows: number,
    width: number,
    args: (first: number, last: number) => Readonly<Parameters<Kernels[K]>>,
    align = 1,
  ) {
    this.#lanes.run(name, evenly(rows, this.#lanes.parts(rows * width, FEW, 2), align), args);
  }
}
