import type { Tensor } from '../device.ts';
import { type Kernels, PANEL_TYPE } from './kernels.ts';
import type { WasmMemory } from './memory.ts';
import { addressOf, ELEMENT_BYTES, elements, rowsOf, shapeError, weightOf } from './tensor.ts';

/** Rows that are looked up, copied or converted, in this thread alone: it is memory that limits them. */
export class Rows {
  readonly #kernels: Kernels;
  readonly #memory: WasmMemory;

  constructor(kernels: Kernels, memory: WasmMemory) {
    this.#kernels = kernels;
    this.#memory = memory;
  }

  /** Rows of a weight by their numbers, widened to f32. @throws E_SHAPE, also for an id outside; E_DISPOSED */
  embed(ids: Tensor, weight: Tensor, out: Tensor): void {
    const w = weightOf(weight, 'embed', 2);
    const [n, k] = w.shape as [number, number];
    const from = addressOf(ids, 'embed', 'i32');
    const to = addressOf(out, 'embed', 'f32');
    const count = elements(ids.shape);
    const { rows, width } = rowsOf(out);
    if (rows !== count || width !== k) throw shapeError('embed', `${count} ids of width ${k} into [${rows}, ${width}]`);
    const list = new Int32Array(this.#memory.memory.buffer, from, count);
    for (let i = 0; i < count; i++) {
      const id = list[i]!;
      if (id < 0 || id >= n) throw shapeError('embed', `id ${id} outside a vocabulary of ${n}`);
      this.#kernels.gatherRow(PANEL_TYPE[w.type as 'f32'], w.at, k, id, w.shifts[0]!, to + i * k * 4);
    }
  }

  /** Rows of one tensor into another of that width and type, from a row on; the two may be one. @throws E_SHAPE, E_DISPOSED */
  copy(from: Tensor, to: Tensor, toRow: number): void {
    const source = rowsOf(from);
    const target = rowsOf(to);
    if (source.width !== target.width || from.type !== to.type || toRow < 0 || toRow + source.rows > target.rows) {
      throw shapeError(
        'copyRows',
        `[${source.rows}, ${source.width}] to row ${toRow} of [${target.rows}, ${target.width}]`,
      );
    }
    const at = addressOf(from, 'copyRows');
    const bytes = target.width * ELEMENT_BYTES[to.type as 'f32'];
    this.#memory.u8.copyWithin(addressOf(to, 'copyRows') + toRow * bytes, at, at + from.byteLength);
  }

  /** Elements in another type; f16 and bf16 go by f32. @throws E_SHAPE, E_DISPOSED */
  cast(from: Tensor, to: Tensor): void {
    const n = elements(from.shape);
    if (n !== elements(to.shape)) throw shapeError('cast', `${n} elements to ${elements(to.shape)}`);
    const a = addressOf(from, 'cast', 'f32', 'f16', 'bf16');
    const b = addressOf(to, 'cast', 'f32', 'f16', 'bf16');
    const kernels = this.#kernels;
    if (from.type === to.type) this.#memory.u8.copyWithin(b, a, a + from.byteLength);
    else if (from.type === 'f32') (to.type === 'f16' ? kernels.f32ToF16 : kernels.f32ToBf16)(n, a, b);
    else if (to.type === 'f32') (from.type === 'f16' ? kernels.f16ToF32 : kernels.bf16ToF32)(n, a, b);
    else throw shapeError('cast', `${from.type} to ${to.type} must go by f32`);
  }
}
