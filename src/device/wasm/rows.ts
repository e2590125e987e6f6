import { byteLengthOf } from '../../element-types.ts';
import { elements, heightOf, widthOf } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import { type Kernels, PANEL_TYPE } from './kernels.ts';
import { evenly, type Lanes } from './lanes.ts';
import type { WasmMemory } from './memory.ts';
import { addressOf, type WasmTensor } from './tensor.ts';

/** Rows that are looked up, copied or converted, in this thread alone: it is memory that limits them. */
export class Rows {
  readonly #kernels: Kernels;
  readonly #memory: WasmMemory;

  constructor(kernels: Kernels, memory: WasmMemory) {
    this.#kernels = kernels;
    this.#memory = memory;
  }

  /** Rows of a weight by their numbers, widened to f32. */
  embed(ids: Tensor, weight: Tensor, out: Tensor): void {
    const [n, k] = weight.shape as [number, number];
    const list = new Int32Array(this.#memory.memory.buffer, addressOf(ids), elements(ids.shape));
    const type = PANEL_TYPE[weight.type as 'f32'];
    const [shift] = (weight as WasmTensor).shifts;
    for (let i = 0; i < list.length; i++) {
      // an id that is none gives some row, never other memory
      const row = Math.min(Math.max(list[i]!, 0), n - 1);
      this.#kernels.gatherRow(type, addressOf(weight), k, row, shift!, addressOf(out) + i * k * 4);
    }
  }

  /** Rows of one tensor into another of that width and type, from a row on. */
  copy(from: Tensor, to: Tensor, toRow: number): void {
    const at = addressOf(from);
    const first = byteLengthOf(to.type, toRow * widthOf(to));
    this.#memory.u8.copyWithin(addressOf(to) + first, at, at + from.byteLength);
  }

  /** One number of each row, 32 bits each. */
  column(x: Tensor, column: number, out: Tensor): void {
    const { buffer } = this.#memory.memory;
    const [rows, width] = [heightOf(x), widthOf(x)];
    const from = new Uint32Array(buffer, addressOf(x), rows * width);
    const to = new Uint32Array(buffer, addressOf(out), rows);
    for (let row = 0; row < rows; row++) to[row] = from[row * width + column]!;
  }

  /** Elements in another type. */
  cast(from: Tensor, to: Tensor): void {
    const n = elements(from.shape);
    const [a, b] = [addressOf(from), addressOf(to)];
    const kernels = this.#kernels;
    if (from.type === to.type) this.#memory.u8.copyWithin(b, a, a + from.byteLength);
    else if (from.type === 'f32') (to.type === 'f16' ? kernels.f32ToF16 : kernels.f32ToBf16)(n, a, b);
    else (from.type === 'f16' ? kernels.f16ToF32 : kernels.bf16ToF32)(n, a, b);
  }
}

/** Elements below which it is not worth a command to the lanes. */
const FEW = 1 << 14;
/** Columns of a range, in whole cache lines. */
const LINE = 16;

/** As TrainDevice.embedBackward: lanes share columns, since rows meet the same one in their order. */
export function embedBackward(lanes: Lanes, ids: Tensor, dY: Tensor, dW: Tensor): void {
  const [tokens, k, rows] = [heightOf(dY), widthOf(dY), heightOf(dW)];
  lanes.run('scatterAdd', evenly(k, lanes.parts(tokens * k, FEW), LINE), (first, last) => {
    return [first, last, tokens, k, rows, addressOf(ids), addressOf(dY), addressOf(dW)];
  });
}
