import type { ElementType, Tensor } from '../device.ts';
import type { Bound } from './commands.ts';
import type { GpuMemory } from './memory.ts';

/** A tensor in a buffer of the GPU. `release` is what dispose does beyond marking; null for views and scratch. */
export class GpuTensor implements Tensor, Bound {
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly layout: 'rows' | 'panels';
  readonly byteLength: number;
  readonly offset: number;
  readonly memory: GpuMemory;
  #disposed = false;
  readonly #release: ((tensor: GpuTensor) => void) | null;
  readonly #owner: { readonly disposed: boolean } | null;

  constructor(
    type: ElementType,
    shape: readonly number[],
    layout: 'rows' | 'panels',
    memory: GpuMemory,
    offset: number,
    byteLength: number,
    release: ((tensor: GpuTensor) => void) | null,
    owner: { readonly disposed: boolean } | null = null,
  ) {
    this.type = type;
    this.shape = shape;
    this.layout = layout;
    this.memory = memory;
    this.offset = offset;
    this.byteLength = byteLength;
    this.#release = release;
    this.#owner = owner;
  }

  /** Whether other bytes of a tensor may stand before or behind it. */
  get isView(): boolean {
    return this.#owner instanceof GpuTensor;
  }

  get storage(): object {
    return this.memory;
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
