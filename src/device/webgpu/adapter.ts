/** Where GPUs come from: the host's `navigator.gpu`, or in Node and Bun the package `webgpu` (Dawn), an optional peer. */
import { EspalierError } from '../../errors.ts';
import { hasNode } from '../../runtime/host/types.ts';
import { MATRIX_FEATURES } from './matrix-shape.ts';

/** An adapter, for people and for choosing. */
export interface AdapterFacts {
  /** What the driver calls itself; empty where the host does not tell. */
  readonly name: string;
  /** Whether it is a program on the CPU: right, and slower than the wasm device. */
  readonly fallback: boolean;
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
}

/** What is asked for where the adapter has it: what kernels make use of. None needs it. */
const WANTED = ['subgroups'] as const;

/** Limits that are raised to what the adapter has; a device's defaults are those of a small phone. */
const RAISED = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxStorageBuffersPerShaderStage',
  'minUniformBufferOffsetAlignment',
] as const;

/**
 * What Dawn must be told to show matrix units: it counts what is experimental as unsafe, so whoever runs it says whether (`ESPALIER_MATRIX_UNITS=1`). On
 * NVIDIA's it shows f16 not by itself either.
 */
const UNSAFE = 'allow_unsafe_apis,vulkan_enable_f16_on_nvidia';

/** In Node and Bun. A browser has a flag of its own, and shows what it has. */
function matrixUnitsAsked(): boolean {
  return !['', '0', undefined].includes(process.env['ESPALIER_MATRIX_UNITS']);
}

/** Further features of Dawn's that are of use for measurements. It says nothing to a name that it does not know, so others are refused. */
const MEASURED = ['disable_robustness'];

/** @throws E_ARGUMENT */
function dawnFlags(): string[] {
  const further = (process.env['ESPALIER_DAWN_FEATURES'] ?? '').split(',').filter((name) => name !== '');
  const unknown = further.find((name) => !MEASURED.includes(name));
  if (unknown !== undefined) {
    const hint = `Those known are ${MEASURED.join(', ')}.`;
    throw new EspalierError('E_ARGUMENT', `ESPALIER_DAWN_FEATURES has ${unknown}.`, hint);
  }
  const features = [...(matrixUnitsAsked() ? [UNSAFE] : []), ...further];
  return features.length === 0 ? [] : [`enable-dawn-features=${features.join(',')}`];
}

let dawn: Promise<GPU | null> | null = null;

/** The host's GPUs, or null. */
async function gpuOfHost(): Promise<GPU | null> {
  const host = (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu;
  if (host) return host;
  if (!hasNode()) return null;
  dawn ??= (async () => {
    const flags = dawnFlags();
    const name = 'webgpu'; // by a variable, so that no bundler looks for what a page does not need
    try {
      const { create } = (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)) as {
        create(options: string[]): GPU;
      };
      return create(flags);
    } catch {
      return null;
    }
  })();
  return dawn;
}

/** The adapter that a device would be made of, or null. */
export async function requestAdapter(): Promise<GPUAdapter | null> {
  const gpu = await gpuOfHost();
  try {
    return (await gpu?.requestAdapter({ powerPreference: 'high-performance' })) ?? null;
  } catch {
    return null; // Deno throws where no driver is found
  }
}

/** What Linux shows of a GPU in `/dev`, whoever made it and however it is passed on to a container. */
const DEVICE_FILES = /^(dri|nvidia\d+|kgsl.*|mali\d*|dxg|nvhost-gpu)$/;

/**
 * Whether this machine may have a GPU, without asking a driver. A driver that plays one where none is writes to the terminal whatever the program wants of it:
 * Mesa's has Dawn print five lines at each look.
 * @param names of `/dev`
 */
export async function mayHaveGpu(names?: readonly string[]): Promise<boolean> {
  if (!names && (!hasNode() || process.platform !== 'linux')) return true;
  try {
    return (names ?? (await (await import('node:fs/promises')).readdir('/dev'))).some((name) =>
      DEVICE_FILES.test(name),
    );
  } catch {
    return true; // who hides its devices may have one
  }
}

/** As `requestAdapter`, where nobody asked for a GPU. */
export async function findAdapter(): Promise<GPUAdapter | null> {
  return (await mayHaveGpu()) ? requestAdapter() : null;
}

/** All that the host shows, the one that a device would be made of first. */
export async function allAdapters(): Promise<AdapterFacts[]> {
  const gpu = await gpuOfHost();
  const found: AdapterFacts[] = [];
  for (const options of [
    { powerPreference: 'high-performance' },
    { powerPreference: 'low-power' },
    { forceFallbackAdapter: true },
  ] as const) {
    const adapter = await gpu?.requestAdapter(options).catch(() => null);
    const facts = adapter ? adapterFacts(adapter) : null;
    if (facts && !found.some((one) => JSON.stringify(one) === JSON.stringify(facts))) found.push(facts);
  }
  return found;
}

export function adapterFacts(adapter: GPUAdapter): AdapterFacts {
  const { info } = adapter;
  const parts = [info?.vendor, info?.architecture, info?.device, info?.description];
  const limits: Record<string, number> = {};
  for (const key in adapter.limits) {
    const value = adapter.limits[key as keyof GPUSupportedLimits] as unknown;
    if (typeof value === 'number') limits[key] = value;
  }
  return {
    name: [...new Set(parts.filter((part) => part))].join(' '),
    fallback: isFallback(adapter),
    features: [...adapter.features].sort(),
    limits,
  };
}

/** Hosts say it in different places, and some not at all. */
function isFallback(adapter: GPUAdapter): boolean {
  const { info } = adapter as { info?: GPUAdapterInfo };
  const told = info?.isFallbackAdapter ?? (adapter as { isFallbackAdapter?: boolean }).isFallbackAdapter;
  if (told) return true;
  const words = `${info?.vendor} ${info?.architecture} ${info?.description}`.toLowerCase();
  return /swiftshader|llvmpipe|lavapipe|software/.test(words);
}

/** @throws E_DEVICE_UNSUPPORTED */
export async function requestDevice(adapter: GPUAdapter): Promise<GPUDevice> {
  const requiredLimits: Record<string, number> = {};
  for (const name of RAISED) {
    const value = adapter.limits[name];
    if (typeof value === 'number') requiredLimits[name] = value;
  }
  const requiredFeatures = WANTED.filter((name) => adapter.features.has(name)) as GPUFeatureName[];
  const matrix = MATRIX_FEATURES as readonly string[] as readonly GPUFeatureName[]; // one of them is not among the types yet
  if (matrix.every((name) => adapter.features.has(name))) requiredFeatures.push(...matrix);
  try {
    return await adapter.requestDevice({ requiredFeatures, requiredLimits });
  } catch (cause) {
    throw new EspalierError(
      'E_DEVICE_UNSUPPORTED',
      'The GPU does not give a device.',
      'Use device "wasm", or look at what `espalier doctor` says.',
      { cause },
    );
  }
}
