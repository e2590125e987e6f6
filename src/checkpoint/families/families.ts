import type { Family } from './family.ts';
import { gemma3Text } from './gemma3-text.ts';
import { granitemoeshared } from './granitemoeshared.ts';
import { llama } from './llama.ts';
import { mistral } from './mistral.ts';
import { mixtral } from './mixtral.ts';
import { qwen2 } from './qwen2.ts';
import { qwen2Moe } from './qwen2-moe.ts';
import { qwen3 } from './qwen3.ts';
import { qwen3Moe } from './qwen3-moe.ts';
import { smollm3 } from './smollm3.ts';

/**
 * The families, by the `model_type` of their config.json, which GGUF uses too. What transformers assumes is of 5.24; the classes of 4.57
 * have the same defaults where both have the key.
 */
export const FAMILIES = {
  llama,
  mistral,
  qwen2,
  qwen3,
  smollm3,
  gemma3_text: gemma3Text,
  granitemoeshared,
  mixtral,
  qwen2_moe: qwen2Moe,
  qwen3_moe: qwen3Moe,
} as const satisfies Readonly<Record<string, Family>>;

/** An architecture of transformers; our own config names one that its layers are built like. */
export type StockArchitecture = keyof typeof FAMILIES;

export type Architecture = StockArchitecture | 'espalier_moe';

export const ARCHITECTURES: readonly Architecture[] = [
  ...(Object.keys(FAMILIES) as StockArchitecture[]),
  'espalier_moe',
];

export function isFamily(type: string): type is StockArchitecture {
  return Object.hasOwn(FAMILIES, type);
}

export function familyOf(type: StockArchitecture): Family {
  return FAMILIES[type];
}

/** By the name of its class; null where there is none. */
export function familyOfClass(className: string): StockArchitecture | null {
  const found = Object.entries(FAMILIES).find(([, family]) => family.className === className);
  return found ? (found[0] as StockArchitecture) : null;
}
