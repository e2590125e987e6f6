import { heightOf, widthOf } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import type { ShareRule } from '../fused-device.ts';
import { variants } from './kernel.ts';
import { byRows } from './pieces.ts';
import type { GpuParts } from './tensor-store.ts';

const WORKGROUP = 64;

/** An invocation a row: experts are few. Slot 0 is that of no expert, and of equal logits the first is the larger. */
const SHARES = variants('expertShares', (_, cutting: boolean) => ({
  buffers: [
    ['logits', 'f32', 'read'],
    ['shares', 'u32', 'write'],
    ...(cutting ? [['entropies', 'f32', 'read'] as const] : []),
  ],
  numbers: [
    ...['rows: u32', 'experts: u32', 'most: u32', 'actsLow: u32'],
    ...['cut: f32', 'temperature: f32', 'strength: f32'],
  ],
  workgroup: WORKGROUP,
  declarations: `fn isNone(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) >= 0x7f800000u; }
fn isNan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
fn logit(row: u32, slot: u32) -> f32 { return logits[u.logitsAt + row * (u.experts + 1u) + slot]; }
fn put(row: u32, expert: u32, value: f32) { shares[u.sharesAt + row * u.experts + expert] = bitcast<u32>(value); }
fn weight(x: f32, largest: f32) -> f32 { return exp(max((x - largest) / u.temperature, -200.0)); }
// whether it is one of the largest, that of no expert not counted
fn isAmong(row: u32, slot: u32) -> bool {
  let own = logit(row, slot);
  var before = 0u;
  for (var other = 1u; other <= u.experts; other++) {
    let its = logit(row, other);
    if (its > own || (its == own && other < slot)) { before++; }
  }
  return before < u.most;
}`,
  body: `let row = group * ${WORKGROUP}u + li;
  if (row >= u.rows) { return; }
  var best = 0u;
  var strange = ${cutting ? 'isNan(entropies[u.entropiesAt + row])' : 'false'};
  for (var slot = 0u; slot <= u.experts; slot++) {
    if (isNone(logit(row, slot))) { strange = true; }
    if (logit(row, slot) > logit(row, best)) { best = slot; }
  }
  let high = ${cutting ? 'entropies[u.entropiesAt + row] > u.cut' : 'false'};
  let largest = logit(row, best);
  var total = weight(logit(row, 0u), largest);
  if (high) {
    for (var slot = 1u; slot <= u.experts; slot++) {
      if (isAmong(row, slot)) { total += weight(logit(row, slot), largest); }
    }
  }
  for (var slot = 1u; slot <= u.experts; slot++) {
    var share = select(0.0, u.strength, slot == best && u.actsLow == 1u);
    if (high) { share = select(0.0, u.strength * weight(logit(row, slot), largest) / total, isAmong(row, slot)); }
    put(row, slot - 1u, share);
    if (strange) { shares[u.sharesAt + row * u.experts + slot - 1u] = 0x7fc00000u; }
  }`,
}));

export function expertShares(
  { commands }: GpuParts,
  logits: Tensor,
  entropies: Tensor | null,
  { cut, temperature, most, strength, actsLow }: ShareRule,
  out: Tensor,
): void {
  const experts = widthOf(out);
  if (heightOf(out) === 0 || experts === 0) return;
  const tensors = [logits, out, ...(entropies ? [entropies] : [])];
  for (const { bound, rows } of byRows(commands.bindingLimit, tensors)) {
    const numbers = [rows, experts, most, actsLow ? 1 : 0, cut ?? 0, temperature, strength];
    commands.run(SHARES(entropies !== null), bound, numbers, Math.ceil(rows / WORKGROUP));
  }
}
