import { EspalierError } from '../../errors.ts';
import { ADAPTER_CONFIG } from '../../runtime/hub/remote-files.ts';
import { ConfigKeys, shown } from '../config/keys.ts';
import { jsonObject, parseJson } from '../json.ts';
import { pythonPattern } from './pattern.ts';
import { loraScale } from './scale.ts';

/** What adapter_config.json of PEFT says, as far as it decides what is computed. */
export interface AdapterConfig {
  /** What it was trained on, as it was called there. */
  readonly base: string | null;
  /** Rank of modules that no pattern names. */
  readonly rank: number;
  readonly alpha: number;
  readonly rslora: boolean;
  /** Matrices B of each A, where it is HydraLoRA's (`lora_nums`), which is not PEFT's; null: it is PEFT's. */
  readonly heads: number | null;
  /** As it stands there, for people. */
  readonly targets: string | readonly string[];
  /** Keys with a value that nothing is made of. */
  readonly ignoredKeys: readonly string[];
  /** Whether it is for a module, by Hugging Face's name, such as `model.layers.0.self_attn.q_proj`. */
  isTarget(module: string): boolean;
  rankOf(module: string): number;
  /** What (x Aᵀ) Bᵀ is multiplied by: alpha / rank, with rsLoRA alpha / √rank. */
  scaleOf(module: string): number;
}

/** Keys that say how it was made, where it is run or who made it. */
const NEUTRAL: ReadonlySet<string> = new Set([
  ...['auto_mapping', 'inference_mode', 'lora_dropout', 'megatron_config', 'megatron_core', 'peft_version', 'revision'],
  ...['task_type', 'ephemeral_gpu_offload', 'eva_config', 'runtime_config', 'qalora_group_size', 'velora_config'],
  ...['blc_alpha', 'blc_weight'], // HydraLoRA's, of its loss
  ...['corda_config', 'lora_ga_config', 'loftq_config', 'ensure_weight_tying', 'trainable_token_indices_to_tie'],
]);

/** Keys of kinds that are computed otherwise, and what they are called; any value that says something is refused. */
const REFUSED: readonly (readonly [key: string, what: string])[] = [
  ['use_dora', 'DoRA, which scales the columns of the weights too'],
  ['lora_bias', 'LoRA with biases of its own'],
  ['fan_in_fan_out', 'transposed weights (fan_in_fan_out)'],
  ['modules_to_save', 'whole modules beside the factors (modules_to_save)'],
  ['target_parameters', 'parameters that are no linear layer, such as stacks of experts (target_parameters)'],
  ['trainable_token_indices', 'tokens of the embedding (trainable_token_indices)'],
  ['layer_replication', 'layers that stand several times (layer_replication)'],
  ['alora_invocation_tokens', 'aLoRA, which begins behind a token'],
  ['use_qalora', 'QALoRA'],
  ['use_bdlora', 'BD-LoRA'],
  ['arrow_config', 'Arrow, which routes among adapters'],
  ['kasa_config', 'KaSA'],
  ['monteclora_config', 'MonteCLoRA'],
];

/** Ways to begin that leave the weights of the base as they are; others have taken something out of them. */
const BEGINNINGS: ReadonlySet<unknown> = new Set([undefined, null, true, false, 'gaussian', 'eva', 'orthogonal']);

/**
 * Reads adapter_config.json. Rules are those of peft 0.21: which modules are meant, and their ranks and factors.
 * @param name of the folder, for messages
 * @throws E_CONFIG_INVALID; E_ADAPTER for a kind of adapter that is not computed
 */
export function adapterConfigFromJson(json: Uint8Array, name: string): AdapterConfig {
  const file = `${name}/${ADAPTER_CONFIG}`;
  const limits = { name: file, code: 'E_CONFIG_INVALID', maxDepth: 32, uniqueKeys: false } as const;
  const raw = jsonObject(parseJson(json, { ...limits, python: true }), limits);
  const keys = new ConfigKeys(raw, file);
  const kind = keys.value('peft_type');
  if (kind !== 'LORA') throw refused(name, `is of the kind ${shown(kind)}`, 'LoRA alone is computed.');
  for (const [key, what] of REFUSED) if (says(keys.value(key))) throw refused(name, `has ${what}`);
  const bias = keys.text('bias', 'none');
  if (bias !== 'none') throw refused(name, `has biases of the base trained (bias ${shown(bias)})`);
  const beginning = keys.value('init_lora_weights');
  if (!BEGINNINGS.has(beginning)) {
    throw refused(
      name,
      `belongs to a base whose weights were changed when it began (init_lora_weights ${shown(beginning)})`,
      'Convert it to plain LoRA with peft: save_pretrained(FOLDER, path_initial_model_for_weight_conversion=…).',
    );
  }
  const rank = keys.whole('r', 8);
  const alpha = keys.number('lora_alpha', 8);
  if (rank < 1) throw keys.fault('r', `is ${rank}`);
  const heads = keys.wholeOrNull('lora_nums', null);
  if (heads !== null && heads < 1) throw keys.fault('lora_nums', `is ${heads}`);
  const rslora = keys.flag('use_rslora', false);
  const ranks = patterns(keys, 'rank_pattern');
  const alphas = patterns(keys, 'alpha_pattern');
  for (const { value } of ranks) {
    if (!Number.isInteger(value) || value < 1) throw keys.fault('rank_pattern', `holds ${shown(value)}, not a rank`);
  }
  const rankOf = (module: string): number => ranks.find(({ matches }) => matches(module))?.value ?? rank;
  const alphaOf = (module: string): number => alphas.find(({ matches }) => matches(module))?.value ?? alpha;
  const targets = modules(keys, 'target_modules');
  if (targets === null) throw keys.fault('target_modules', 'names no modules');
  const isTarget = targetRule(keys, targets);
  const base = keys.value('base_model_name_or_path');
  return {
    base: typeof base === 'string' && base !== '' ? base.slice(0, 200) : null,
    rank,
    alpha,
    rslora,
    heads,
    targets,
    isTarget,
    rankOf,
    scaleOf: (module) => loraScale({ rank: rankOf(module), alpha: alphaOf(module), rslora }),
    ignoredKeys: keys.unread.filter((key) => !NEUTRAL.has(key) && says(raw[key])),
  };
}

/** Whether a value asks for something: not null, false, 'none', or empty. */
function says(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === '' || value === 'none') return false;
  return typeof value !== 'object' || Object.keys(value).length > 0;
}

function refused(name: string, what: string, hint?: string): EspalierError {
  const advice = hint ?? 'Merge it into its base with peft (merge_and_unload), and open the result.';
  return new EspalierError('E_ADAPTER', `The adapter ${name} ${what}.`, advice);
}

/** Patterns of ends of names, with a number for each. */
function patterns(keys: ConfigKeys, key: string): { matches: (module: string) => boolean; value: number }[] {
  const child = keys.child(key);
  const raw = (keys.value(key) ?? {}) as Readonly<Record<string, unknown>>;
  return Object.keys(raw).map((pattern) => {
    const value = child!.need(pattern, '');
    return { matches: pythonPattern(`(?:.*\\.)?(?:${pattern})`, key), value };
  });
}

/** Names of modules, or one pattern; null where there are none. */
function modules(keys: ConfigKeys, key: string): string | readonly string[] | null {
  const value = keys.value(key);
  if (value === undefined || value === null || value === '') return null;
  if (typeof value === 'string') return value;
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) {
    throw keys.fault(key, `is ${shown(value)}, not a list of names`);
  }
  return value.length > 0 ? value : null;
}

/** peft's `check_target_module_exists`. */
function targetRule(keys: ConfigKeys, targets: string | readonly string[]): (module: string) => boolean {
  const layers = keys.value('layers_to_transform');
  const only = new Set(layers === undefined || layers === null ? [] : keys.ids('layers_to_transform', []));
  const named = modules(keys, 'layers_pattern');
  const before = (named === null ? ['[^.]*'] : typeof named === 'string' ? [named] : named).map((pattern) =>
    pythonPattern(`(?:.*\\.)?(?:${pattern})\\.\\d+\\..*`, 'layers_pattern'),
  );
  const inLayer = (module: string): boolean => {
    // the first number of a name is its layer
    const layer = /\.(\d+)\./.exec(module)?.[1];
    return only.size === 0 || (layer !== undefined && only.has(Number(layer)) && before.some((rule) => rule(module)));
  };
  const excluded = modules(keys, 'exclude_modules');
  const isExcluded = excluded === null ? () => false : nameRule(excluded, 'exclude_modules');
  if (typeof targets === 'string') {
    // layers are chosen of listed modules alone
    const isNamed = isAllLinear(targets) ? () => true : nameRule(targets, 'target_modules');
    return (module) => !isExcluded(module) && isNamed(module);
  }
  const isNamed = nameRule(targets, 'target_modules');
  return (module) => !isExcluded(module) && isNamed(module) && inLayer(module);
}

/** Whether all linear layers are meant, as peft takes it: in any case. */
export function isAllLinear(targets: AdapterConfig['targets']): boolean {
  return typeof targets === 'string' && targets.toLowerCase() === 'all-linear';
}

/** A pattern of whole names, or their ends. */
function nameRule(names: string | readonly string[], key: string): (module: string) => boolean {
  if (typeof names === 'string') return pythonPattern(names, key);
  return (module) => names.some((name) => module === name || module.endsWith(`.${name}`));
}
