import type { ElementType, Tensor } from '../device.ts';

/** A tensor in wasm memory. `release` is what dispose does beyond marking; null for views and scratch. */
export class WasmTensor implements Tensor {
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly layout: 'rows' | 'panels';
  readonly byteLength: number;
  readonly storage: object;
  readonly offset: number;
  /** Of each matrix in panels, the power of two by which its f16 scales were multiplied (assembly/panel.ts). */
  shifts: readonly number[] = [0];
  #disposed = false;
  readonly #release: ((tensor: WasmTensor) => void) | null;
  readonly #owner: WasmTensor | null;

  /** @param storage a mark for the device's memory, and not the memory, which a tensor must not keep */
  constructor(
    type: ElementType,
    shape: readonly number[],
    layout: 'rows' | 'panels',
    storage: object,
    offset: number,
    byteLength: number,
    release: ((tensor: WasmTensor) => void) | null,
    owner: WasmTensor | null = null,
  ) {
    this.type = type;
    this.shape = shape;
    this.layout = layout;
    this.storage = storage;
    this.offset = offset;
    this.byteLength = byteLength;
    this.#release = release;
    this.#owner = owner;
  }

  get disposed(): boolean {
    return this.#disposed || (this.#owner?.disposed ?? false);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#release?.(this);
  }
}

/** Where a tensor that was checked stands in the memory; 0 where there is none. */
export function addressOf(t: Tensor | null): number {
  return t === null ? 0 : t.offset;
}
