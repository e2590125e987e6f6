/** Apart from the targets themselves, so that a page which checks options, and grows in a worker, loads none of them. */
export const TARGET_NAMES = ['granitemoeshared', 'mixtral', 'qwen2_moe', 'qwen3_moe', 'espalier'] as const;

export type TargetName = (typeof TARGET_NAMES)[number];
