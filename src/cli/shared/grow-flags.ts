import { type GrowOptions, growThereOptions } from '../../engine/grow/options.ts';
import { EspalierError } from '../../errors.ts';
import { growRecipe } from '../../grow/plan/options.ts';
import { TARGET_NAMES } from '../../grow/targets/names.ts';
import { type AnyRule, words } from '../../options/rules.ts';
import type { ArgumentSpecs } from './command.ts';
import { OF_PROGRAMS } from './data-flags.ts';
import { optionFlags } from './flags.ts';
import { number, written } from './written.ts';

/** `NAME:NUMBER` as its two parts. */
function parts(text: string): readonly [name: string, value: string | undefined] {
  const at = text.indexOf(':');
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

const WRITTEN = {
  layers: written(growRecipe.layers, 'an interval (4), a list (3,7,11; one: 3,), first:N, last:N, or auto', (text) => {
    if (text === 'auto') return text;
    const [name, value] = parts(text);
    if (name === 'first' || name === 'last') return { [name]: number(value) };
    if (!text.includes(',')) return { interval: number(text) };
    return text.replace(/,$/, '').split(',').map(number);
  }),
  partition: written(
    growRecipe.partition,
    'contiguous, equal-energy, strided, random, random-orthogonal, none, tail-drop:P or head-keep:P, P singular components',
    (text) => {
      const [name, value] = parts(text);
      if (name === 'tail-drop') return { tailDrop: number(value) };
      return name === 'head-keep' ? { headKeep: number(value) } : text;
    },
  ),
  placement: written(growRecipe.placement, 'down, gate, up, or several with commas, each once', (text) =>
    text.split(','),
  ),
  noise: written(growRecipe.noise, 'the share of the correction; 0: none; or absolute:SIGMA', (text) => {
    const [name, value] = parts(text);
    if (name === 'absolute') return { kind: name, sigma: number(value) };
    return number(text) === 0 ? { kind: 'none' } : { kind: 'relative', ratio: number(text) };
  }),
  router: written(
    growRecipe.router,
    'normal:STD or uniform:STD (0.02 where it is left out; above 0, since a router of zeros would send every token to the first experts), ' +
      'kaiming-uniform, standard-normal, inverse-sqrt-uniform or orthogonal',
    (text) => {
      const [kind, std] = parts(text);
      if (kind !== 'normal' && kind !== 'uniform') return { kind: text };
      return { kind, std: std === undefined ? 0.02 : number(std) };
    },
  ),
};

const own = (value: string, description: string, rule: AnyRule) =>
  ({ type: 'string', value, description, rule }) as const;

const flags = optionFlags<GrowOptions>(growThereOptions, {
  out: { value: 'FOLDER', description: 'The folder to write, which must not exist or be empty', unless: 'dry-run' },
  target: { value: 'NAME', description: `${TARGET_NAMES.join(', ')}, or auto` },
  preset: { value: 'NAME', description: 'paper, or gguf-safe' },
  method: { value: 'NAME', description: 'spri, naive, noise, drop, virtual-group, split, scaled-copy or zero-delta' },
  preserve: {
    value: 'NAME',
    description: 'as-published, function-preserving (refused where a method cannot), or scaled: as if it could',
  },
  experts: { value: 'E', description: 'Routed experts of a layer' },
  topK: { value: 'K', description: 'Experts that a token passes' },
  allowConstantGate: { description: 'Allow --top-k 1, with which the router gets no gradient from the loss' },
  groupSize: { value: 'N', description: 'Experts that share a slice of the spectrum (as top-k)' },
  layers: null,
  partition: null,
  shuffle: { description: 'Slices go to groups in a random order: a control' },
  placement: null,
  anchor: { value: 'NAME', description: 'shared, folded, routed or none' },
  rho: { value: 'R', description: 'Norm of a correction as a share of the weights’ (0.001)' },
  delta: { value: 'D', description: 'Added to the norm of a slice that is divided by' },
  normalise: { value: 'NAME', description: 'How slices are scaled: group, global, spectral or none' },
  noise: null,
  noiseAll: { description: 'Noise for groups of one expert too', negative: 'Not so, whatever the preset says' },
  router: null,
  seed: { value: 'N', description: 'Of all random numbers' },
  ratio: { value: 'R', description: 'noise, drop: share of the neurons that change' },
  sigma: { value: 'S', description: 'noise: standard deviation' },
  permute: {
    description: 'noise, drop: neurons in another order in each expert, as released (the default)',
    negative: 'noise, drop: neurons in their own order, as written in the paper',
  },
  granularity: { value: 'G', description: 'virtual-group: shards that the feed-forward is cut into (as top-k)' },
  dtype: { value: 'TYPE', description: 'bf16, f16, f32, or auto (as the source)' },
  gguf: { description: 'Refuse, or adapt, what llama.cpp would not compute alike after conversion' },
  maxShardBytes: { value: 'BYTES', description: 'Largest file of weights' },
  restart: { description: 'Throw away an unfinished job with other options' },
  trainPlan: null, // says nothing of the weights
  verify: null, // --no-verify, --verify-text
  device: { value: 'NAME', description: 'What computes Gram matrices and slices: wasm, webgpu, or auto: wasm' },
  lanes: null, // common
  ...OF_PROGRAMS,
});

const { layers, partition, placement, noise, router } = WRITTEN;

/** Flags of growing, but for those that all commands share. */
export const growArguments: ArgumentSpecs = {
  ...flags.args,
  layers: own('LAYERS', 'Every n-th layer (4), or a list (3,7,11; "3," is one), first:N, last:N', layers),
  partition: own(
    'NAME',
    'contiguous, equal-energy, strided, random, random-orthogonal, none, tail-drop:P or head-keep:P',
    partition,
  ),
  placement: own('NAMES', 'Projections that get the slices: down, gate, up, or several with commas', placement),
  noise: own('Q', 'Noise as a share of the correction (0.44), 0: none; or absolute:SIGMA', noise),
  router: own('NAME', 'Initialisation of the router: normal:STD, uniform:STD, kaiming-uniform, orthogonal, …', router),
  verify: {
    type: 'boolean',
    description: 'Compare the logits of both models in the end (the default)',
    negative: 'Do not compare the logits of both models in the end',
  },
  'verify-text': { type: 'string', value: 'TEXT', description: 'The text to compare them on', rule: words },
};

/** What they say. @throws E_ARGUMENT for two that contradict each other */
export function growOptionsOf(args: Readonly<Record<string, unknown>>): GrowOptions {
  const text = args['verify-text'];
  if (text !== undefined && args['verify'] === false) {
    throw new EspalierError('E_ARGUMENT', '--no-verify and --verify-text contradict each other.', 'Give one.');
  }
  const said = Object.keys(WRITTEN).flatMap((name) => (args[name] === undefined ? [] : [[name, args[name]]]));
  const verify = text ?? args['verify'];
  return { ...flags.options(args), ...Object.fromEntries(said), ...(verify === undefined ? {} : { verify }) };
}
