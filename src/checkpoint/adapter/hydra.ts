/** HydraLoRA (arXiv 2404.19245): its files as numbers, and a plain adapter made of them. Its routers are not computed here. */
import { throwIfAborted } from '../../errors.ts';
import { FILE_LIMITS } from '../../runtime/files/file-limits.ts';
import { type ModelTarget, notFound, openModelFiles, readWhole } from '../../runtime/files/model-files.ts';
import type { ModelFiles } from '../../runtime/files/source.ts';
import type { FilesOptions } from '../../runtime/hub/options.ts';
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS } from '../../runtime/hub/remote-files.ts';
import { readSafetensors } from '../safetensors/safetensors.ts';
import type { TensorTable } from '../tensor-table.ts';
import type { ModelConfig, TensorEntry } from '../types.ts';
import type { OutputType } from '../write/shards.ts';
import { type AdapterConfig, adapterConfigFromJson } from './config.ts';
import { checkCoefficients, mixed } from './mix.ts';
import { type LoraPart, loraModules } from './modules.ts';
import {
  adapterFault,
  checkTypes,
  foreignBase,
  ignoredNotes,
  moduleOf,
  openingFiles,
  trainedElsewhere,
} from './open.ts';
import { factorValues } from './values.ts';
import { adapterFiles } from './write.ts';

/**
 * What HydraLoRA adds to one matrix of a decoder: scale · Σ softmax(route · x)_i B_i A x, by position, x the input of that matrix. Each has a router of
 * its own, without a bias.
 */
export interface HydraMatrix {
  readonly layer: number;
  /** Of a layer with experts, gate, up and down are the shared expert's. */
  readonly part: LoraPart;
  readonly rank: number;
  readonly a: Float32Array; // [rank, K]
  readonly bs: readonly Float32Array[]; // [N, rank]
  readonly route: Float32Array; // [bs, K]
}

/** An adapter of HydraLoRA, as numbers. */
export interface HydraAdapter {
  /** Of the base. */
  readonly config: ModelConfig;
  /** How the base is called. */
  readonly base: string | null;
  readonly rank: number;
  /** lora_alpha / rank. */
  readonly scale: number;
  /** Matrices B of each A. */
  readonly experts: number;
  readonly factors: readonly HydraMatrix[];
  readonly notes: readonly string[];
}

interface HydraEntries {
  readonly module: string;
  readonly a: TensorEntry;
  readonly bs: readonly TensorEntry[];
  readonly route: TensorEntry;
}

/** `base_model.model.MODULE.lora_A.weight`, `.lora_B0.weight` .. and `.lora_route.weight` */
const TENSOR = /^base_model\.model\.(.+)\.lora_(A|route|B(?:0|[1-9]\d{0,3}))\.weight$/;
const HINT = 'Use the configuration that belongs to these weights, and all of what HydraLoRA saved.';

/**
 * Reads adapter_config.json and adapter_model.safetensors as HydraLoRA's branch of peft names things, wherever they lie. That writes
 * adapter_model.bin, which has to be converted first.
 * @throws E_ADAPTER for files that are not HydraLoRA's, that lack something or have too much, and for another base; E_CONFIG_INVALID, E_TENSOR_TYPE,
 *   E_TENSOR_VALUE for NaN and infinity, E_CHECKPOINT_…, E_FILE_NOT_FOUND, E_ABORTED
 */
export async function readHydra(
  target: ModelTarget,
  base: { readonly name: string; readonly config: ModelConfig },
  options: FilesOptions = {},
): Promise<HydraAdapter> {
  const files = await openModelFiles(target, options, 'adapter');
  const { name } = files;
  const opened = await openingFiles(files, missing, async (open) => {
    const config = adapterConfigFromJson(await readWhole(await open(ADAPTER_CONFIG), FILE_LIMITS.config), name);
    const weights = await open(files.preferred ?? ADAPTER_WEIGHTS);
    return { config, modules: entriesOf(await readSafetensors(weights), config, name) };
  });
  const { config, modules } = opened;
  try {
    const all = loraModules(base.config);
    const foreign = (what: string) => foreignBase(name, config.base, what);
    const bound = modules.map((entries) => {
      const shape = [entries.bs[0]!.shape[0]!, entries.a.shape[1]!] as const;
      return { ...entries, targets: moduleOf(all, entries.module, shape, foreign, base.name).targets };
    });
    // what the files have factors for was corrected, whatever ends of names target_modules lists
    const { rank } = config;
    const factors: HydraMatrix[] = [];
    for (const { a: shared, bs: entries, route: router, targets } of bound) {
      throwIfAborted(options.signal);
      const [{ values: a }, { values: route }] = [await factorValues(shared), await factorValues(router)];
      const bs: Float32Array[] = [];
      for (const entry of entries) bs.push((await factorValues(entry)).values);
      for (const { layer, part, firstRow, rows } of targets) {
        const own = bs.map((b) => b.slice(firstRow * rank, (firstRow + rows) * rank));
        factors.push({ layer, part, rank, a, bs: own, route });
      }
    }
    const notes = [
      ...ignoredNotes(name, config.ignoredKeys, ADAPTER_CONFIG),
      ...trainedElsewhere(name, config.base, base.name),
    ];
    const experts = modules[0]!.bs.length;
    return {
      ...{ config: base.config, base: config.base, rank, scale: config.alpha / rank, experts, factors, notes },
    };
  } finally {
    await opened.close();
  }
}

function missing(files: ModelFiles, name: string) {
  if (!files.names.some((other) => /^adapter_/.test(other))) return notFound(name, files.name);
  const hint =
    "HydraLoRA writes adapter_model.bin. In Python, safetensors.torch.save_file(torch.load(FILE), 'adapter_model.safetensors') converts it.";
  return adapterFault(files.name, `has no ${name}`, hint);
}

/** @throws E_ADAPTER */
function entriesOf(table: TensorTable, { rank, heads }: AdapterConfig, name: string): readonly HydraEntries[] {
  checkTypes(table, name);
  const found = new Map<string, Map<string, TensorEntry>>();
  for (const [tensor, entry] of table.tensors) {
    const [, module, factor] = TENSOR.exec(tensor) ?? [];
    if (module === undefined) {
      throw adapterFault(
        name,
        `holds ${tensor.slice(0, 200)}, which HydraLoRA has not`,
        'Open it as an adapter of PEFT.',
      );
    }
    const own = found.get(module) ?? new Map<string, TensorEntry>();
    own.set(factor!, entry);
    found.set(module, own);
  }
  if (found.size === 0) throw adapterFault(name, 'has no factors', HINT);
  const experts = heads ?? [...found.values()][0]!.size - 2;
  return [...found]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([module, own]) => {
      const shown = module.slice(0, 200);
      const take = (factor: string): TensorEntry => {
        const entry = own.get(factor);
        if (entry) return entry;
        throw adapterFault(name, `has no lora_${factor} for ${shown}, and HydraLoRA has one`, HINT);
      };
      const [a, route] = [take('A'), take('route')];
      if (experts < 1 || own.size !== experts + 2) {
        throw adapterFault(name, `has ${own.size - 2} matrices B for ${shown}, and not ${experts}`, HINT);
      }
      const bs = Array.from({ length: experts }, (_, i) => take(`B${i}`));
      const [n] = bs[0]!.shape;
      const [, k] = a.shape;
      const wanted = [[rank, k], [experts, k], ...bs.map(() => [n, rank])];
      for (const [i, { shape }] of [a, route, ...bs].entries()) {
        if (shape.length === 2 && shape.join() === wanted[i]!.join()) continue;
        const got = shape.slice(0, 8).join(', ');
        throw adapterFault(
          name,
          `has a factor of [${got}] for ${shown}, of rank ${rank} and ${experts} matrices B`,
          HINT,
        );
      }
      return { module, a, bs, route };
    });
}

/**
 * The two files of a plain adapter in PEFT's format with B = Σ c_i B_i. It computes what HydraLoRA does where its routers give these coefficients, and is
 * as far off elsewhere as they differ from them.
 * @param coefficients of the matrices B, those of all layers alike; default 1 / n each, which is what routers of zeros give
 * @param type of the written factors; default f32
 * @throws E_ARGUMENT for other than one finite number a matrix; as `adapterFiles`
 */
export function exportHydra(
  { config, base, rank, scale, experts, factors }: HydraAdapter,
  coefficients: readonly number[] = new Array<number>(experts).fill(1 / experts),
  type: OutputType = 'f32',
): ReadonlyMap<string, Uint8Array> {
  checkCoefficients(coefficients, experts);
  const plain = factors.map(({ layer, part, rank: own, a, bs }) => {
    return { layer, part, rank: own, a, b: mixed(bs, coefficients) };
  });
  return adapterFiles({ config, base, factors: plain, alpha: scale * rank, rslora: false, type });
}
