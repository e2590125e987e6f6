import { Attention } from './attention.ts';
import type { Kernels } from './kernels.ts';
import { Lanes } from './lanes.ts';
import { Layers } from './layers.ts';
import { Arena, type WasmMemory } from './memory.ts';
import { Products } from './products.ts';
import { Routing } from './routing.ts';
import { Rows } from './rows.ts';
import type { Tuning } from './tune.ts';

/** What a device computes with. All of it holds the memory, and nothing else does: a closed device gives it up as a whole. */
export interface Parts {
  readonly kernels: Kernels;
  readonly memory: WasmMemory;
  readonly arena: Arena;
  readonly lanes: Lanes;
  readonly tuning: Tuning;
  readonly products: Products;
  readonly layers: Layers;
  readonly attention: Attention;
  readonly routing: Routing;
  readonly rows: Rows;
}

/** @throws as `Lanes` */
export function partsOf(
  kernels: Kernels,
  module: WebAssembly.Module,
  memory: WasmMemory,
  tuning: Tuning,
  laneCount: number,
): Parts {
  const arena = new Arena(memory);
  const lanes = new Lanes(kernels, module, memory, laneCount);
  return {
    kernels,
    memory,
    arena,
    lanes,
    tuning,
    products: new Products(kernels, memory, arena, tuning, lanes),
    layers: new Layers(lanes),
    attention: new Attention(kernels, arena, tuning, lanes),
    routing: new Routing(kernels, arena, lanes),
    rows: new Rows(kernels, memory),
  };
}
