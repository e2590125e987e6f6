import { elements, heightOf, widthOf } from '../checks/tensor.ts';
import type { GatedActivation, RopeLayout, StepArguments, Tensor } from '../device.ts';
import { type KernelName, type Kernels, ROPE_LAYOUT } from './kernels.ts';
import type { Lanes } from './lanes.ts';
import type { Arena, WasmMemory } from './memory.ts';
import { LINE, overElements, overRows } from './over-rows.ts';
import { addressOf } from './tensor.ts';

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
    this.#run('rmsNorm', elements(x.shape) / n, n, [0, 0, n, eps, from, 4 * n, w, to, 4 * n]);
  }

  addRmsNorm(x: Tensor, residual: Tensor, weight: Tensor, out: Tensor, eps: number): void {
    const n = widthOf(x);
    const [from, sum, w, to] = [addressOf(x), addressOf(residual), addressOf(weight), addressOf(out)];
    this.#run('addRmsNorm', heightOf(x), n, [0, 0, n, eps, from, sum, w, to, 4 * n]);
  }

  rope(x: Tensor, table: Tensor, positions: Tensor | number, layout: RopeLayout): void {
    rotate(this.#lanes, 'rope', x, table, positions, layout);
  }

  gatedActivation(kind: GatedActivation, gate: Tensor, up: Tensor, out: Tensor): void {
    const [n, stride] = [widthOf(gate), 4 * widthOf(gate)];
    const [g, u, y] = [addressOf(gate), addressOf(up), addressOf(out)];
    this.#run(GATED[kind], heightOf(gate), n, [0, 0, n, g, stride, u, stride, y, stride]);
  }

  add(x: Tensor, y: Tensor): void {
    const [from, to] = [addressOf(x), addressOf(y)];
    overElements(this.#lanes, 'add', elements(x.shape), (count, at) => [count, from + at, to + at]);
  }

  addBias(bias: Tensor, y: Tensor): void {
    const n = widthOf(y);
    this.#run('addBias', heightOf(y), n, [0, 0, n, addressOf(bias), addressOf(y), 4 * n]);
  }

  scale(x: Tensor, factor: number): void {
    const at = addressOf(x);
    overElements(this.#lanes, 'scale', elements(x.shape), (count, place) => [count, factor, at + place]);
  }

  scaleRows(x: Tensor, coefficients: Tensor, column: number, out: Tensor): void {
    const [n, step] = [widthOf(x), 4 * widthOf(coefficients)];
    const [from, factors, to] = [addressOf(x), addressOf(coefficients) + 4 * column, addressOf(out)];
    this.#run('scaleRows', heightOf(x), n, [0, 0, n, factors, step, from, to]);
  }

  softmax(x: Tensor): void {
    const n = widthOf(x);
    this.#run('softmax', heightOf(x), n, [0, 0, n, addressOf(x), 4 * n]);
  }

  #run<K extends KernelName>(name: K, rows: number, width: number, values: Readonly<Parameters<Kernels[K]>>) {
    overRows(this.#lanes, name, rows, width, values);
  }
}

/** As TrainDevice.rmsNormBackward: rows are shared out, and then the columns of the weight, each of which is summed in the order of rows. */
export function rmsNormBackward(
  lanes: Lanes,
  arena: Arena,
  x: Tensor,
  weight: Tensor,
  dY: Tensor,
  eps: number,
  dX: Tensor,
  dWeight: Tensor | null,
): void {
  const n = elements(weight.shape);
  const rows = elements(x.shape) / n;
  const [from, w, d, to] = [addressOf(x), addressOf(weight), addressOf(dY), addressOf(dX)];
  const mark = arena.mark();
  const inverses = dWeight ? arena.allocate(4 * rows) : 0;
  overRows(lanes, 'rmsNormBackward', rows, n, [0, 0, n, eps, from, w, d, to, inverses]);
  if (dWeight) {
    const sums = addressOf(dWeight);
    overRows(lanes, 'rmsNormBackwardWeight', n, rows, [0, 0, rows, n, from, d, inverses, sums], { align: LINE });
  }
  arena.reset(mark);
}

/** As TrainDevice.ropeBackward. */
export function ropeBackward(
  lanes: Lanes,
  dX: Tensor,
  table: Tensor,
  positions: Tensor | number,
  layout: RopeLayout,
): void {
  rotate(lanes, 'ropeBackward', dX, table, positions, layout);
}

/** As TrainDevice.scaleRowsBackward. */
export function scaleRowsBackward(
  lanes: Lanes,
  x: Tensor,
  coefficients: Tensor,
  column: number,
  dY: Tensor,
  dX: Tensor | null,
  dCoefficients: Tensor | null,
): void {
  const [n, step] = [widthOf(x), 4 * widthOf(coefficients)];
  const [factors, factorsTo] = [
    addressOf(coefficients) + 4 * column,
    dCoefficients ? addressOf(dCoefficients) + 4 * column : 0,
  ];
  const [from, d, to] = [addressOf(x), addressOf(dY), addressOf(dX)];
  overRows(lanes, 'scaleRowsBackward', heightOf(x), n, [0, 0, n, factors, step, from, d, to, factorsTo]);
}

const GATED_BACKWARD = {
  silu: 'siluMultiplyBackward',
  'gelu-tanh': 'geluMultiplyBackward',
} as const satisfies Record<GatedActivation, KernelName>;

/** As TrainDevice.gatedActivationBackward. */
export function gatedActivationBackward(
  lanes: Lanes,
  kind: GatedActivation,
  gate: Tensor,
  up: Tensor,
  dY: Tensor,
  dGate: Tensor,
  dUp: Tensor,
): void {
  const [n, stride] = [widthOf(gate), 4 * widthOf(gate)];
  const [g, u, d, toGate, toUp] = [gate, up, dY, dGate, dUp].map(addressOf) as [number, number, number, number, number];
  overRows(lanes, GATED_BACKWARD[kind], heightOf(gate), n, [0, 0, n, stride, g, u, d, toGate, toUp]);
}

/** The rotation of `Device.attendEach`. */
export function rotateEach({ arena, lanes, memory }: RotationParts, args: StepArguments): void {
  const { q, k, table, rotation, sequences, nHeads, nKvHeads, headDim } = args;
  if (!table || rotation.rotaryDims === 0) return;
  const list = arena.allocate(4 * sequences.length);
  new Int32Array(memory.memory.buffer, list, sequences.length).set(sequences.map(({ position }) => position));
  rotateBy(lanes, 'rope', q, table, list, 0, { ...rotation, heads: nHeads, headDim });
  rotateBy(lanes, 'rope', k, table, list, 0, { ...rotation, heads: nKvHeads, headDim });
}

/** What of a device's parts it needs. */
interface RotationParts {
  readonly arena: Arena;
  readonly lanes: Lanes;
  readonly memory: WasmMemory;
}

function rotate(
  lanes: Lanes,
  kernel: 'rope' | 'ropeBackward',
  x: Tensor,
  table: Tensor,
  positions: Tensor | number,
  layout: RopeLayout,
): void {
  const [list, fixed] = typeof positions === 'number' ? [0, positions] : [addressOf(positions), 0];
  rotateBy(lanes, kernel, x, table, list, fixed, layout);
}

/** @param list address of each row's position, or 0 where all of them stand at `fixed` */
function rotateBy(
  lanes: Lanes,
  kernel: 'rope' | 'ropeBackward',
  x: Tensor,
  table: Tensor,
  list: number,
  fixed: number,
  layout: RopeLayout,
): void {
  const width = widthOf(x);
  const { heads, headDim, rotaryDims } = layout;
  const interleaved = ROPE_LAYOUT[layout.layout];
  const [at, tableAt, tableRows] = [addressOf(x), addressOf(table), elements(table.shape) / rotaryDims];
  const shape = [0, 0, heads, headDim, rotaryDims, interleaved] as const;
  overRows(lanes, kernel, heightOf(x), width, [...shape, at, 4 * width, list, fixed, tableAt, tableRows]);
}
