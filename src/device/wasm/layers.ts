import type { RopeLayout, Tensor } from '../device.ts';
import type { KernelName, Kernels } from './kernels.ts';
import { evenly, type Lanes } from './lanes.ts';
import { addressOf, elements, rowsOf, shapeError } from './tensor.ts';

/** Elements below which an operation on rows is not worth a command to the lanes. */
const FEW = 1 << 14;
/** Elements of a range without rows, in whole cache lines. */
const LINE = 16;

/** The operations of the wasm device that work row by row, shared among lanes by rows. */
export class Layers {
  readonly #lanes: Lanes;

  constructor(lanes: Lanes) {
    this.#lanes = lanes;
  }

  rmsNorm(x: Tensor, weight: Tensor, out: Tensor, eps: number): void {
    const n = elements(weight.shape);
    const total = elements(x.shape);
    if (total % n !== 0 || elements(out.shape) !== total)
      throw shapeError('rmsNorm', `${total} elements in groups of ${n}`);
    const from = addressOf(x, 'rmsNorm', 'f32');
    const to = addressOf(out, 'rmsNorm', 'f32');
    const w = addressOf(weight, 'rmsNorm', 'f32');
    this.#run('rmsNorm', total / n, n, (first, last) => [first, last, n, eps, from, 4 * n, w, to, 4 * n]);
  }

  addRmsNorm(x: Tensor, residual: Tensor, weight: Tensor, out: Tensor, eps: number): void {
    const { rows, width } = rowsOf(x);
    const size = rows * width;
    if (elements(residual.shape) !== size || elements(out.shape) !== size || elements(weight.shape) !== width) {
      throw shapeError('addRmsNorm', `rows of ${width}, weight of ${elements(weight.shape)}`);
    }
    const [from, sum, w, to] = addresses('addRmsNorm', x, residual, weight, out);
    this.#run('addRmsNorm', rows, width, (a, b) => [a, b, width, eps, from!, sum!, w!, to!, 4 * width]);
  }

  rope(x: Tensor, table: Tensor, positions: Tensor | number, layout: RopeLayout): void {
    const { rows, width } = rowsOf(x);
    const { heads, headDim, rotaryDims } = layout;
    if (width !== heads * headDim || rotaryDims > headDim || rotaryDims % 2 !== 0) {
      throw shapeError('rope', `rows of ${width} as ${heads} heads of ${headDim}, ${rotaryDims} rotating`);
    }
    const tableRows = elements(table.shape) / rotaryDims;
    if (typeof positions === 'number' ? positions < 0 || positions >= tableRows : elements(positions.shape) !== rows) {
      throw shapeError('rope', `positions do not fit ${rows} rows and a table of ${tableRows}`);
    }
    const interleaved = layout.layout === 'interleaved' ? 1 : 0;
    const [at, tableAt] = addresses('rope', x, table);
    const list = typeof positions === 'number' ? 0 : addressOf(positions, 'rope', 'i32');
    const fixed = typeof positions === 'number' ? positions : 0;
    this.#run('rope', rows, width, (first, last) => {
      return [first, last, heads, headDim, rotaryDims, interleaved, at!, 4 * width, list, fixed, tableAt!];
    });
  }

  siluMultiply(gate: Tensor, up: Tensor, out: Tensor): void {
    const { rows, width } = rowsOf(gate);
    if (elements(up.shape) !== rows * width || elements(out.shape) !== rows * width) {
      throw shapeError('siluMultiply', 'gate, up and out differ');
    }
    const [g, u, y] = addresses('siluMultiply', gate, up, out);
    const stride = 4 * width;
    this.#run('siluMultiply', rows, width, (a, b) => [a, b, width, g!, stride, u!, stride, y!, stride]);
  }

  add(x: Tensor, y: Tensor): void {
    const n = elements(x.shape);
    if (n !== elements(y.shape)) throw shapeError('add', `${n} elements to ${elements(y.shape)}`);
    const [from, to] = addresses('add', x, y);
    this.#run('add', n, 1, (first, last) => [last - first, from! + 4 * first, to! + 4 * first], LINE);
  }

  addBias(bias: Tensor, y: Tensor): void {
    const { rows, width } = rowsOf(y);
    if (elements(bias.shape) !== width)
      throw shapeError('addBias', `bias of ${elements(bias.shape)}, rows of ${width}`);
    const [from, to] = addresses('addBias', bias, y);
    this.#run('addBias', rows, width, (first, last) => [first, last, width, from!, to!, 4 * width]);
  }

  scale(x: Tensor, factor: number): void {
    const at = addressOf(x, 'scale', 'f32');
    this.#run('scale', elements(x.shape), 1, (first, last) => [last - first, factor, at + 4 * first], LINE);
  }

  softmax(x: Tensor): void {
    const { rows, width } = rowsOf(x);
    const at = addressOf(x, 'softmax', 'f32');
    this.#run('softmax', rows, width, (first, last) => [first, last, width, at, 4 * width]);
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

function addresses(operation: string, ...tensors: Tensor[]): number[] {
  return tensors.map((t) => addressOf(t, operation, 'f32'));
}
