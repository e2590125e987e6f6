import { type DynamicScaling, dynamic } from './dynamic.ts';
import { type LinearScaling, linear } from './linear.ts';
import { type Llama3Scaling, llama3 } from './llama3.ts';
import { type NoScaling, none } from './none.ts';
import type { ScalingKind } from './scaling.ts';
import { type YarnScaling, yarn } from './yarn.ts';

export type RopeScaling = NoScaling | LinearScaling | DynamicScaling | Llama3Scaling | YarnScaling;

type Kinds = { readonly [T in RopeScaling['type']]: ScalingKind<Extract<RopeScaling, { readonly type: T }>> };

/** By `rope_type` of config.json, which calls none of them `default`, and `rope.scaling.type` of GGUF. */
export const SCALINGS: Kinds = { none, linear, dynamic, llama3, yarn };

export function isScaling(type: string): type is RopeScaling['type'] {
  return Object.hasOwn(SCALINGS, type);
}

/** The kind of a scaling at hand. */
export function scalingKind<S extends RopeScaling>({ type }: S): ScalingKind<S> {
  return SCALINGS[type as RopeScaling['type']] as unknown as ScalingKind<S>;
}
