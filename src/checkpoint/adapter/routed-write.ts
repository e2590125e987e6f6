import type { ModelTarget } from '../../runtime/files/model-files.ts';
import { openModelFiles } from '../../runtime/files/model-files.ts';
import type { FilesOptions } from '../../runtime/hub/options.ts';
import { ALTER_CONFIG, ALTER_WEIGHTS } from '../../runtime/hub/remote-files.ts';
import type { ModelConfig } from '../types.ts';
import type { OutputType } from '../write/shards.ts';
import { type GateOf, gateEntries, gateFrom, gateSpec, gateWeightShapes } from './gate-kinds.ts';
import { checkCoefficients, mixed } from './mix.ts';
import { type LoraPart, loraModules } from './modules.ts';
import { bindRouted, openRoutedFiles } from './routed.ts';
import { ALTER_FORMAT, ALTER_VERSION, type RoutedExpert, routedConfigFromJson } from './routed-config.ts';
import type { RoutingRule } from './routing.ts';
import { factorValues } from './values.ts';
import { adapterFiles, factorsByModule, misfit, tensorFile } from './write.ts';

/** The factors of one matrix of a decoder: what is kept and each expert have a B of their own over one A. */
export interface RoutedMatrix {
  readonly layer: number;
  /** Of a layer with experts, gate, up and down are the shared expert's. */
  readonly part: LoraPart;
  /** That of the adapter, or a multiple of it where a file had the factors of several matrices in one. */
  readonly rank: number;
  readonly a: Float32Array; // [rank, K]
  readonly retain: Float32Array; // [N, rank]
  /** By expert. */
  readonly forget: readonly Float32Array[]; // [N, rank]
}

/** An adapter whose experts act by position, as numbers. */
export interface WrittenRouted {
  /** Of the base. */
  readonly config: ModelConfig;
  /** How the base is called. */
  readonly base: string | null;
  readonly rank: number;
  /** What (x Aᵀ) Bᵀ is multiplied by. */
  readonly scale: number;
  readonly experts: readonly RoutedExpert[];
  readonly rule: RoutingRule;
  readonly factors: readonly RoutedMatrix[];
  /** As in `gateWeightShapes`, row by row. */
  readonly gate: GateOf<Float32Array>;
  /** Default f32. */
  readonly type?: OutputType;
}

/**
 * alter.json and alter.safetensors, by name, which `openRoutedFiles` reads.
 * @throws E_TENSOR_VALUE for NaN, infinity, and what the type cannot hold; E_ADAPTER for factors and gates that do not fit the base or each
 *   other; E_CONFIG_INVALID for what could not be read again
 */
export function routedFiles(adapter: WrittenRouted): ReadonlyMap<string, Uint8Array> {
  const { config, base, rank, scale, experts, rule, gate, type = 'f32' } = adapter;
  const matrices = checkedFactors(adapter).map(({ retain, forget, ...rest }) => ({ ...rest, bs: [retain, ...forget] }));
  const ofModules = factorsByModule(matrices, loraModules(config)).flatMap(({ module, rank: own, a, bs }) => {
    if (own % rank !== 0 || own > rank * module.targets.length) {
      throw misfit(`those of ${module.name} have a rank of ${own}, and the adapter has ${rank}`);
    }
    const [n, k] = module.shape;
    const b = (i: number) => (i === 0 ? 'retain' : `forget.${i - 1}`);
    return [
      { name: `${module.name}.lora_A.weight`, type, shape: [own, k], values: a },
      ...bs.map((values, i) => ({ name: `${module.name}.lora_B.${b(i)}.weight`, type, shape: [n, own], values })),
    ];
  });
  const weights = tensorFile([...ofModules, ...gateTensors(adapter)]);
  const json = {
    format: ALTER_FORMAT,
    version: ALTER_VERSION,
    base,
    rank,
    scale,
    experts: experts.map(({ name, request }) => ({ name, request })),
    gate: gateSpec(gate, config.hiddenSize),
    rule: ruleOf(rule),
  };
  const text = jsonBytes(json);
  routedConfigFromJson(text, 'the result');
  return new Map([
    [ALTER_CONFIG, text],
    [ALTER_WEIGHTS, weights],
  ]);
}

/**
 * An adapter as numbers, from its two files wherever they lie. Written again in f32 it gives the bytes of one in f32.
 * @throws as `openRoutedFiles` and `bindRouted`; E_TENSOR_VALUE for NaN and infinity
 */
export async function readRouted(
  target: ModelTarget,
  base: { readonly name: string; readonly config: ModelConfig },
  options: FilesOptions = {},
): Promise<WrittenRouted> {
  const adapter = await openRoutedFiles(await openModelFiles(target, options, 'adapter'));
  try {
    const { modules } = bindRouted(adapter, base);
    const factors: RoutedMatrix[] = [];
    for (const { a: shared, retain, forget, targets } of modules) {
      const { values: a } = await factorValues(shared);
      const rank = shared.shape[0]!;
      const bs: Float32Array[] = [];
      for (const entry of [retain, ...forget]) bs.push((await factorValues(entry)).values);
      for (const { layer, part, firstRow, rows } of targets) {
        const [kept, ...others] = bs.map((b) => b.slice(firstRow * rank, (firstRow + rows) * rank));
        factors.push({ layer, part, rank, a, retain: kept!, forget: others });
      }
    }
    const gate = new Map<string, Float32Array>();
    for (const [name, entry] of gateEntries(adapter.gate)) gate.set(name, (await factorValues(entry)).values);
    const { base: called, rank, scale, experts, rule } = adapter.config;
    return {
      ...{ config: base.config, base: called, rank, scale, experts, rule, factors },
      gate: gateFrom(adapter.gate.kind, (name) => gate.get(name)!),
    };
  } finally {
    await adapter.close();
  }
}

/**
 * Folders of PEFT, by name, each with its files: `retain`, `forget-1` .. and `static`, one adapter of the same rank whose
 * B = B_r + Σ w_d B_d. It computes what the experts do with constant coefficients w, and so forgets and keeps only about what they do.
 * @param coefficients of the experts, their mean where they shall act, with the strength in it
 * @throws E_ARGUMENT for other than one finite number an expert; as `adapterFiles`
 */
export function exportRouted(
  adapter: WrittenRouted,
  coefficients: readonly number[],
): ReadonlyMap<string, ReadonlyMap<string, Uint8Array>> {
  const { config, base, rank, scale, experts, type } = adapter;
  checkCoefficients(coefficients, experts.length);
  const matrices = checkedFactors(adapter);
  const folder = (b: (of: RoutedMatrix) => Float32Array) => {
    const factors = matrices.map((of) => {
      const { layer, part, a, rank: own } = of;
      // PEFT divides alpha by the rank of each
      const ratio = own / rank;
      return { layer, part, rank: own, a, b: ratio === 1 ? b(of) : b(of).map((value) => value * ratio) };
    });
    return adapterFiles({ config, base, factors, alpha: scale * rank, rslora: false, ...(type && { type }) });
  };
  return new Map([
    ['retain', folder(({ retain }) => retain)],
    ...experts.map((_, i) => [`forget-${i + 1}`, folder(({ forget }) => forget[i]!)] as const),
    ['static', folder(({ retain, forget }) => mixed([retain, ...forget], [1, ...coefficients]))],
  ]);
}

/** In a folder of their own beside those of PEFT: `routerFiles`. */
export const ROUTER_CONFIG = 'config.json';
export const ROUTER_WEIGHTS = 'router.safetensors';

/**
 * What the folders of `exportRouted` lack to be the adapter again, for whoever builds the routing into another program: config.json has what alter.json
 * has, by expert the folder that holds its B, and the coefficients of `static`; router.safetensors has the gate.
 * @param coefficients those of `exportRouted`
 * @throws as `exportRouted`
 */
export function routerFiles(adapter: WrittenRouted, coefficients: readonly number[]): ReadonlyMap<string, Uint8Array> {
  const { config, base, rank, scale, experts, rule, gate } = adapter;
  checkCoefficients(coefficients, experts.length);
  const json = {
    format: 'espalier-alter-export',
    version: 1,
    ...{ base, rank, scale },
    experts: experts.map(({ name, request }, i) => ({ name, request, folder: `forget-${i + 1}` })),
    static: { coefficients },
    gate: gateSpec(gate, config.hiddenSize),
    rule: ruleOf(rule),
  };
  return new Map([
    [ROUTER_CONFIG, jsonBytes(json)],
    [ROUTER_WEIGHTS, tensorFile(gateTensors(adapter))],
  ]);
}

/** Those of the gate, with their names in files. @throws E_ADAPTER for other shapes than those of the gate's kind */
function gateTensors({ config, experts, gate, type = 'f32' }: WrittenRouted) {
  const values = new Map(gateEntries(gate));
  const shapes = gateWeightShapes({ ...gateSpec(gate, config.hiddenSize), slots: experts.length + 1 });
  return gateEntries(shapes).map(([name, shape]) => {
    const own = values.get(name)!;
    if (own.length === shape.reduce((x, y) => x * y, 1)) return { name: `gate.${name}`, type, shape, values: own };
    throw misfit(`gate.${name} has ${own.length} values, and its shape is [${shape.join(', ')}]`);
  });
}

/** Its keys in the order of files. */
function ruleOf({ path, cut, order, alignment, temperature, most, strength }: RoutingRule): RoutingRule {
  return { path, cut, order, alignment, temperature, most, strength };
}

const jsonBytes = (json: object): Uint8Array => new TextEncoder().encode(`${JSON.stringify(json, null, 2)}\n`);

/** @throws E_ADAPTER where a matrix has not one B for each expert, of one size */
function checkedFactors({ factors, experts }: WrittenRouted): readonly RoutedMatrix[] {
  for (const { layer, part, retain, forget } of factors) {
    if (forget.length === experts.length && forget.every((b) => b.length === retain.length)) continue;
    throw misfit(`those of layer ${layer}, ${part}, are not of ${experts.length} experts`);
  }
  return factors;
}
