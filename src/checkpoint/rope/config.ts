import { unsupported } from '../config/faults.ts';
import { ConfigKeys, shown } from '../config/keys.ts';
import { isScaling, SCALINGS } from './scalings.ts';
import type { RopeConfig, RopeContext, RopeScaling } from './types.ts';

/**
 * RoPE as config.json tells it. As in transformers 5 (`convert_rope_params_to_dict`, `standardize_rope_params`): `rope_scaling` goes before
 * `rope_parameters`, unless it is null or empty; a base inside goes before `rope_theta` outside; an original context outside goes
 * before that inside; `rope_type` goes before `type`.
 *
 * @throws E_CONFIG_INVALID, and E_ARCHITECTURE_UNSUPPORTED for longrope and unknown kinds
 */
export function ropeFromConfig(keys: ConfigKeys, context: RopeContext, name: string): RopeConfig {
  const scaling = isNothing(keys.value('rope_scaling')) ? null : keys.child('rope_scaling');
  const parameters = keys.child('rope_parameters');
  const chosen = scaling && !scaling.isEmpty ? scaling : parameters;
  if (scaling && scaling !== chosen) keys.ignore('rope_scaling');
  if (parameters && parameters !== chosen) keys.ignore('rope_parameters');
  const inner = chosen ?? new ConfigKeys({}, name);
  if (inner.has('full_attention') || inner.has('sliding_attention'))
    throw unsupported(name, 'its layers differ in RoPE');
  return ropeFromKeys(keys, inner, () => keys.number('rope_theta', context.theta), context, name);
}

/**
 * RoPE as one object of keys tells it.
 * @param keys of the file, which say what the object leaves out
 * @param fallback the base where the object has none
 */
export function ropeFromKeys(
  keys: ConfigKeys,
  inner: ConfigKeys,
  fallback: () => number,
  context: RopeContext,
  name: string,
): RopeConfig {
  const theta = inner.has('rope_theta') ? inner.number('rope_theta', 0) : fallback();
  const type = inner.has('rope_type') ? inner.value('rope_type') : inner.has('type') ? inner.value('type') : 'default';
  if (typeof type !== 'string') throw inner.fault('rope_type', `is ${shown(type)}, not a text`);
  // first, so that an unknown kind is refused as one
  const scaling = scalingOf(keys, inner, type, context.maxPositions, name);
  const rotaryDims = rotaryDimsOf(keys, inner, type, context, name);
  return { theta, rotaryDims, layout: 'half', scaling, frequencyDivisors: null };
}

/** What Python takes for nothing, `or` something else, beside null and an empty object. */
export function isNothing(value: unknown): boolean {
  return value === false || value === 0 || value === '' || (Array.isArray(value) && value.length === 0);
}

/** How many dimensions of a head rotate. Plain RoPE of these classes turns whole heads, whatever `partial_rotary_factor` says. */
function rotaryDimsOf(keys: ConfigKeys, inner: ConfigKeys, type: string, context: RopeContext, name: string): number {
  const { headDim, partial } = context;
  if (!partial && type === 'default') return headDim;
  const factor = inner.has('partial_rotary_factor')
    ? inner.number('partial_rotary_factor', 1)
    : (keys.optional('partial_rotary_factor') ?? 1);
  const dims = Math.trunc(headDim * factor);
  if (!partial && dims !== headDim) {
    throw unsupported(
      name,
      `its RoPE scaling ${type} with a partial_rotary_factor of ${factor} is not computed by its class`,
    );
  }
  return dims;
}

function scalingOf(keys: ConfigKeys, inner: ConfigKeys, type: string, maxPositions: number, name: string): RopeScaling {
  const kind = type === 'default' ? 'none' : type;
  if (type === 'none' || !isScaling(kind)) throw unsupported(name, `its RoPE scaling is ${type.slice(0, 100)}`);
  return SCALINGS[kind].fromJson({
    inner,
    maxPositions,
    need: (key) => inner.need(key, `, which the RoPE scaling ${type} needs`),
    original: () => {
      const from = keys.has('original_max_position_embeddings') ? keys : inner;
      return from.number('original_max_position_embeddings', maxPositions);
    },
  });
}
