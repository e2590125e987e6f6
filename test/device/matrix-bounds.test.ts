// device: wasm — reads the text of a GPU's kernels
/**
 * What matrix units read and write stands in an array whose length, with an offset and a stride that are constants, and within it: so Tint asks nothing about
 * bounds where the product is computed (its transform "robustness"), which on an H200 is half the time of a product.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { GpuTraits } from '../../src/device/webgpu/kernel.ts';
import { type MatrixTile, matrixKernel } from '../../src/device/webgpu/matrix-kernel.ts';
import type { MatrixShape } from '../../src/device/webgpu/matrix-shape.ts';

const SHAPES: readonly MatrixShape[] = [
  { m: 16, n: 16, k: 16, lanes: 32 },
  { m: 8, n: 8, k: 8, lanes: 8 },
  { m: 16, n: 8, k: 16, lanes: 32 },
];
const TILE = { blocksM: 2, blocksN: 4, subgroupsM: 2, subgroupsN: 1, depth: 2, padding: 1, tall: 8 } as const;
const PANELS = { double: false, vectors: true, turned: false } as const;
const TILES: readonly MatrixTile[] = [
  { ...TILE, ...PANELS },
  { ...TILE, ...PANELS, depth: 1, padding: 0 },
  { ...TILE, ...PANELS, double: true },
  { ...TILE, ...PANELS, vectors: false },
  { ...TILE, ...PANELS, turned: true, double: true },
];
/** How many numbers of a matrix an element of the array is. */
const WIDTHS: Readonly<Record<string, number>> = { vec4u: 8, f16: 1, vec4f: 4 };

test('what units read and write has bounds that Tint knows', () => {
  const traits: GpuTraits = { features: new Set(), invocations: 1024, workgroupBytes: 65536, subgroupSize: 32 };
  for (const shape of SHAPES) {
    for (const tile of TILES) {
      for (const whole of [true, false]) {
        const { declarations = '', body } = matrixKernel(shape, tile, 2, whole).text(traits);
        const arrays = new Map(
          [...declarations.matchAll(/var<workgroup> (\w+): array<array<(\w+), (\d+)>, \d+>;/g)].map(
            ([, name, element, length]) => [name, { width: WIDTHS[element!]!, length: Number(length) }],
          ),
        );
        assert.equal([...arrays.keys()], ['aPanel', 'bPanel', 'back']);
        const calls = [
          ...body.matchAll(
            /subgroupMatrix(Load|Store)<(?:\w+<\w+, (\d+), (\d+)>, )?(row|col)_major>\(&(\w+)\[[^\]]+\], (\d+)u,(?: sum\w+,)? (\d+)u\)/g,
          ),
        ];
        const blocks = tile.blocksM * tile.blocksN;
        assert.is(calls.length, tile.depth * (tile.blocksM + tile.blocksN) + blocks, 'all of them are so');
        assert.is(body.match(/subgroupMatrix(?:Load|Store)/g)!.length, calls.length);
        for (const [, what, columns, rows, order, name, offset, stride] of calls) {
          const [wide, high] = what === 'Load' ? [Number(columns), Number(rows)] : [shape.n, shape.m];
          const [minor, major] = order === 'row' ? [wide, high] : [high, wide];
          const { width, length } = arrays.get(name)!;
          assert.ok(Number(stride) >= minor / width);
          assert.ok(Number(offset) + Number(stride) * (major - 1) + minor / width <= length, name);
        }
      }
    }
  }
});

test.run();
