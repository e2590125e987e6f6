import { espalier } from './espalier.ts';
import { granitemoeshared } from './granitemoeshared.ts';
import { mixtral } from './mixtral.ts';
import type { TargetName } from './names.ts';
import { qwen2Moe } from './qwen2-moe.ts';
import { qwen3Moe } from './qwen3-moe.ts';
import type { Target } from './target.ts';

/** Layouts that models are grown into. `auto` takes the first name that holds the model exactly; our own, which holds most, is the last. */
const TARGETS: Readonly<Record<TargetName, Target>> = {
  granitemoeshared,
  mixtral,
  qwen2_moe: qwen2Moe,
  qwen3_moe: qwen3Moe,
  espalier,
};

export function targetOf(name: TargetName): Target {
  return TARGETS[name];
}
