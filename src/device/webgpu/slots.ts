/** Sums over the slots of a token, whose rows stand where an order says: of `combine`, and of the way back of `gatherRows`. */
import { elements, heightOf, widthOf } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import type { Bound } from './commands.ts';
import { isAligned } from './elementwise.ts';
import { kernel, variants } from './kernel.ts';
import { byRows } from './pieces.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

const WORKGROUP = 256;
/** Slots, at most, whose places each workgroup looks for in the order itself; where there are more they are written down first. */
const SEARCHED = 1024;

/** Where each slot stands in the order. */
const INVERT = kernel('slots', () => ({
  buffers: [
    ['order', 'u32', 'read'],
    ['slots', 'u32', 'write'],
  ],
  numbers: ['count: u32'],
  workgroup: WORKGROUP,
  body: `let i = group * ${WORKGROUP}u + li;
  if (i >= u.count) { return; }
  let slot = order[u.orderAt + i];
  if (slot < u.count) { slots[u.slotsAt + slot] = i; }`,
}));

/**
 * A workgroup a part of a token's row. `slots` has the order, or with `inverted` where slots stand in it. Of the sum the slots first .. last - 1, those
 * whose rows are among what is bound of y.
 */
const SUM = variants('sum over slots', (_, wide: boolean, inverted: boolean, weighted: boolean) => {
  const type = wide ? 'vec4f' : 'f32';
  return {
    buffers: [
      ['y', type, 'read'],
      ['slots', 'u32', 'read'],
      ['out', type, 'write'],
      ...(weighted ? [['weights', 'f32', 'read'] as const] : []),
    ],
    numbers: [
      ...['tokens: u32', 'width: u32', 'tiles: u32', 'k: u32', 'all: u32', 'firstToken: u32'],
      ...['fresh: u32', 'first: u32', 'last: u32', 'firstRow: u32', 'rows: u32'],
    ],
    workgroup: WORKGROUP,
    declarations: inverted ? '' : `var<workgroup> places: array<u32, ${SEARCHED}>;`,
    body: `if (group >= u.tokens * u.tiles) { return; }
  let token = group / u.tiles;
  let own = (u.firstToken + token) * u.k;
  ${
    inverted
      ? ''
      : `for (var i = li; i < u.all; i += ${WORKGROUP}u) {
    let slot = slots[u.slotsAt + i] - own;
    if (slot < u.k) { places[slot] = i; }
  }
  workgroupBarrier();`
  }
  let column = (group % u.tiles) * ${WORKGROUP}u + li;
  if (column >= u.width) { return; }
  let to = u.outAt + token * u.width + column;
  var sum = ${type}();
  if (u.fresh == 0u) { sum = out[to]; }
  for (var j = u.first; j < u.last; j++) {
    let row = ${inverted ? 'slots[u.slotsAt + own + j]' : 'places[j]'} - u.firstRow;
    if (row < u.rows) {
      let value = y[u.yAt + row * u.width + column];
      sum = ${weighted ? `fma(${type}(weights[u.weightsAt + token * u.k + j]), value, sum)` : 'sum + value'};
    }
  }
  out[to] = sum;`,
  };
});

/**
 * out[t] = Σ over the slots of a token, in their order, of weights[t, j] · the row of y that stands for the slot; without weights out[t] += Σ of the
 * rows. Where y is more than a binding holds each slot is added by itself, so that the order stays.
 */
export function overSlots(
  { commands, arena }: GpuParts,
  y: Tensor,
  order: Tensor,
  weights: Tensor | null,
  out: Tensor,
): void {
  const [width, tokens, all] = [widthOf(out), heightOf(out), elements(order.shape)];
  if (width === 0 || all === 0) return;
  const k = all / tokens;
  const inverted = all > SEARCHED;
  const mark = arena.mark();
  let slots: Bound = order as GpuTensor;
  if (inverted) {
    slots = { memory: arena.take(4 * all), offset: 0, byteLength: 4 * all };
    commands.run(INVERT, [order as GpuTensor, slots], [all], Math.ceil(all / WORKGROUP));
  }
  const rows = byRows(commands.bindingLimit, [y]);
  const runs =
    rows.length === 1 ? [{ first: 0, last: k }] : Array.from({ length: k }, (_, j) => ({ first: j, last: j + 1 }));
  for (const piece of byRows(commands.bindingLimit, weights ? [out, weights] : [out])) {
    const [to, ...factors] = piece.bound as [Bound, ...Bound[]];
    for (const { first, last } of runs) {
      for (const { bound, first: firstRow, rows: count } of rows) {
        const wide = width % 4 === 0 && isAligned(to) && isAligned(bound[0]!);
        const across = wide ? width / 4 : width;
        const tiles = Math.ceil(across / WORKGROUP);
        const fresh = weights !== null && first === 0 && firstRow === 0 ? 1 : 0;
        const numbers = [piece.rows, across, tiles, k, all, piece.first, fresh, first, last, firstRow, count];
        commands.run(
          SUM(wide, inverted, weights !== null),
          [bound[0]!, slots, to, ...factors],
          numbers,
          piece.rows * tiles,
        );
      }
    }
  }
  arena.reset(mark);
}
