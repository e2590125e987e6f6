import { EspalierError } from '../../errors.ts';
import type { ElementType, Tensor } from '../device.ts';

export const ELEMENT_BYTES = { f32: 4, i32: 4, u32: 4, bf16: 2, f16: 2, i8: 1 } as const;

/** A tensor in wasm memory. `release` is what dispose does beyond marking; null for views and scratch. */
export class WasmTensor implements Tensor {
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly layout: 'rows' | 'panels';
  readonly byteLength: number;
  /** Address; read it through `addressOf`, which checks. */
  readonly at: number;
  /** Of each matrix in panels, the power of two by which its f16 scales were multiplied (assembly/panel.ts). */
  shifts: readonly number[] = [0];
  #disposed = false;
  readonly #release: ((tensor: WasmTensor) => void) | null;
  readonly #owner: WasmTensor | null;

  constructor(
    type: ElementType,
    shape: readonly number[],
    layout: 'rows' | 'panels',
    at: number,
    byteLength: number,
    release: ((tensor: WasmTensor) => void) | null,
    owner: WasmTensor | null = null,
  ) {
    this.type = type;
    this.shape = shape;
    this.layout = layout;
    this.at = at;
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

export function elements(shape: readonly number[]): number {
  let n = 1;
  for (const size of shape) n *= size;
  return n;
}

/** Width of the last dimension, and how many rows of it there are. */
export function rowsOf(t: Tensor): { rows: number; width: number } {
  const width = t.shape.at(-1) ?? 1;
  let rows = 1;
  for (let i = 0; i < t.shape.length - 1; i++) rows *= t.shape[i]!;
  return { rows, width };
}

export function shapeError(operation: string, message: string): EspalierError {
  return new EspalierError('E_SHAPE', `${operation}: ${message}.`, 'See the shapes in src/device/device.ts.');
}

/** Address of a row-major tensor of one of the given types. */
export function addressOf(t: Tensor, operation: string, ...types: ElementType[]): number {
  if (t.disposed) {
    throw new EspalierError(
      'E_DISPOSED',
      `${operation}: a tensor was used after dispose().`,
      'Keep a tensor, cache or model open until the last operation on it has been called.',
    );
  }
  if (t.layout !== 'rows') throw shapeError(operation, 'got a weight in panels where a row-major tensor is needed');
  if (types.length > 0 && !types.includes(t.type))
    throw shapeError(operation, `got ${t.type}, needs ${types.join(' or ')}`);
  return (t as WasmTensor).at;
}

/** A weight in panels: [N, K], or with three dimensions a stack [E, N, K]. */
export function weightOf(t: Tensor, operation: string, dimensions: 2 | 3): WasmTensor {
  if (t.disposed) {
    throw new EspalierError(
      'E_DISPOSED',
      `${operation}: a weight was used after dispose().`,
      'Keep the model open until the last operation on it has been called.',
    );
  }
  if (t.layout !== 'panels' || t.shape.length !== dimensions) {
    throw shapeError(operation, `needs a weight made by ${dimensions === 2 ? 'loadMatrix' : 'loadMatrices'}`);
  }
  return t as WasmTensor;
}
