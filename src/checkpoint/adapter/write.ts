import { EspalierError } from '../../errors.ts';
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS } from '../../runtime/hub/remote-files.ts';
import type { OutputFolder } from '../../runtime/output/output.ts';
import type { ModelConfig } from '../types.ts';
import { type OutputType, planShards, type TensorSpec } from '../write/shards.ts';
import { castBytes } from '../write/source-tensors.ts';
import { type LoraModule, type LoraPart, loraModules } from './modules.ts';

/** The factors of one matrix of a decoder. */
export interface WrittenFactors {
  readonly layer: number;
  /** Of a layer with experts, gate, up and down are the shared expert's. */
  readonly part: LoraPart;
  readonly rank: number;
  readonly a: Float32Array; // [rank, K]
  readonly b: Float32Array; // [N, rank]
}

/** An adapter to be written. */
export interface WrittenAdapter {
  /** Of the base. */
  readonly config: ModelConfig;
  /** How the base is called: `base_model_name_or_path`. */
  readonly base: string | null;
  readonly factors: readonly WrittenFactors[];
  /** Terms are multiplied by alpha / rank, with `rslora` by alpha / √rank. */
  readonly alpha: number;
  readonly rslora: boolean;
  readonly dropout?: number;
  /** Default f32. */
  readonly type?: OutputType;
}

/** Factors of one matrix of a decoder: one A, any number of B. */
export interface MatrixFactors extends Omit<WrittenFactors, 'b'> {
  readonly bs: readonly Float32Array[]; // [N, rank]
}

/** One module of a file, with what it has of its own. */
export interface ModuleFactors {
  readonly module: LoraModule;
  readonly rank: number;
  /** Its rank, by that of the matrices in it. */
  readonly ratio: number;
  readonly a: Float32Array;
  readonly bs: readonly Float32Array[];
}

/**
 * The two files of an adapter in PEFT's format, by name, which peft and `openAdapter` read.
 *
 * transformers has gate and up of granitemoeshared's shared expert as one linear layer: its factors are those of both behind and below each
 * other, B with zeros where the other's are; where both have the very same A, it stands there once.
 *
 * @throws E_TENSOR_VALUE for NaN, infinity, and what the type cannot hold; E_ADAPTER for factors of a matrix that the base has not, or not in
 *   that shape
 */
export function adapterFiles(adapter: WrittenAdapter): ReadonlyMap<string, Uint8Array> {
  const { config, base, alpha, rslora, dropout = 0, type = 'f32' } = adapter;
  const modules = loraModules(config);
  const factors = adapter.factors.map(({ b, ...rest }): MatrixFactors => ({ ...rest, bs: [b] }));
  const written = factorsByModule(factors, modules).map(({ module, rank, ratio, a, bs: [b] }) => {
    // each keeps the factor that it has by its own rank
    return { module, rank, alpha: alpha * (rslora ? Math.sqrt(ratio) : ratio), a, b: b! };
  });
  const tensors = written.flatMap(({ module, rank, a, b }) => {
    const at = `base_model.model.${module.name}.lora_`;
    const [n, k] = module.shape;
    return [
      { name: `${at}A.weight`, type, shape: [rank, k], values: a },
      { name: `${at}B.weight`, type, shape: [n, rank], values: b },
    ];
  });
  const weights = tensorFile(tensors);
  const rank = written[0]!.rank;
  const own = (key: 'rank' | 'alpha', usual: number) =>
    Object.fromEntries(written.filter((one) => one[key] !== usual).map((one) => [one.module.name, one[key]]));
  const json = {
    base_model_name_or_path: base,
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    layers_pattern: null,
    layers_to_transform: null,
    lora_alpha: alpha,
    lora_dropout: dropout,
    modules_to_save: null,
    peft_type: 'LORA',
    r: rank,
    alpha_pattern: own('alpha', alpha),
    rank_pattern: own('rank', rank),
    target_modules: targetsOf(
      written.map(({ module }) => module.name),
      [...modules.keys()],
      config,
    ),
    task_type: 'CAUSAL_LM',
    use_dora: false,
    use_rslora: rslora,
  };
  return new Map([
    [ADAPTER_CONFIG, new TextEncoder().encode(`${JSON.stringify(json, null, 2)}\n`)],
    [ADAPTER_WEIGHTS, weights],
  ]);
}

/** Writes both; the folder is neither committed nor released here. @throws as `adapterFiles`; E_FILE_WRITE, E_STORAGE_FULL */
export async function writeAdapter(out: OutputFolder, adapter: WrittenAdapter): Promise<void> {
  for (const [name, bytes] of adapterFiles(adapter)) await out.writeBytes(name, bytes);
}

/** One safetensors file. @throws E_TENSOR_VALUE for NaN, infinity, and what the type cannot hold */
export function tensorFile(tensors: readonly (TensorSpec & { readonly values: Float32Array })[]): Uint8Array {
  const [{ header, bytes: size }] = planShards([{ tensors }], Number.MAX_SAFE_INTEGER) as [
    ReturnType<typeof planShards>[0],
  ];
  const file = new Uint8Array(size);
  file.set(header);
  let at = header.byteLength;
  for (const { name, type, values } of tensors) {
    const bytes = castBytes(values, type, name);
    file.set(bytes, at);
    at += bytes.byteLength;
  }
  return file;
}

/** In the order of the base's modules. @throws E_ADAPTER for what does not fit the base, and where there are none */
export function factorsByModule(
  factors: readonly MatrixFactors[],
  modules: ReadonlyMap<string, LoraModule>,
): readonly ModuleFactors[] {
  const given = new Map(factors.map((one) => [`${one.layer} ${one.part}`, one]));
  const written: ModuleFactors[] = [];
  for (const module of modules.values()) {
    const parts = module.targets.map((target) => ({ target, own: given.get(`${target.layer} ${target.part}`) }));
    const there = parts.flatMap(({ target, own }) => (own ? [{ target, own }] : []));
    if (there.length === 0) continue;
    const [n, k] = module.shape;
    for (const { target, own } of there) {
      given.delete(`${target.layer} ${target.part}`);
      const fits = own.bs.every((b) => b.length === target.rows * own.rank);
      if (own.rank >= 1 && own.a.length === own.rank * k && fits) continue;
      throw misfit(`${target.tensor} is [${target.rows}, ${k}]; its factors of rank ${own.rank} have other sizes`);
    }
    const [{ own: one }] = there as [(typeof there)[0]];
    const isShared = there.every(({ own }) => own.a === one.a);
    const rank = isShared ? one.rank : there.reduce((sum, { own }) => sum + own.rank, 0);
    const a = isShared ? one.a : new Float32Array(rank * k);
    const bs = one.bs.map(() => new Float32Array(n * rank));
    let first = 0;
    for (const { target, own } of there) {
      if (!isShared) a.set(own.a, first * k);
      for (const [i, b] of bs.entries()) {
        for (let row = 0; row < target.rows; row++) {
          const values = own.bs[i]!.subarray(row * own.rank, (row + 1) * own.rank);
          b.set(values, (target.firstRow + row) * rank + first);
        }
      }
      if (!isShared) first += own.rank;
    }
    const ratios = new Set(there.map(({ own }) => rank / own.rank));
    if (ratios.size > 1) throw misfit(`${module.name} is one linear layer: its two parts need one rank`);
    const [ratio] = ratios as unknown as [number];
    written.push({ module, rank, ratio, a, bs });
  }
  if (given.size > 0) throw misfit(`the base has no matrix for the factors of ${[...given.keys()][0]}`);
  if (written.length === 0) throw misfit('there are none');
  return written;
}

export function misfit(what: string): EspalierError {
  return new EspalierError('E_ADAPTER', `The factors cannot be written: ${what}.`, 'Use those of this very base.');
}

/**
 * Names of modules as short as they can be: `q_proj` where all of that name are adapted and no other layer of transformers has it, else
 * whole names.
 */
function targetsOf(adapted: readonly string[], all: readonly string[], { moe }: ModelConfig): string[] {
  const short = (name: string): string => {
    const parts = name.split('.');
    // experts have gate_proj, up_proj and down_proj, too
    return parts.slice(moe && !name.includes('self_attn') ? -2 : -1).join('.');
  };
  const is = new Set(adapted);
  const partly = new Set(all.filter((name) => !is.has(name)).map(short));
  return [...new Set(adapted.map((name) => (partly.has(short(name)) ? name : short(name))))].sort();
}
