/** Where GPUs come from: the host's `navigator.gpu`, or in Node and Bun the package `webgpu` (Dawn), an optional peer. */
import { EspalierError } from '../../errors.ts';
import { hasNode } from '../../runtime/host/types.ts';

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

let dawn: Promise<GPU | null> | null = null;

/** The host's GPUs, or null. */
async function gpuOfHost(): Promise<GPU | null> {
  const host = (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu;
  if (host) return host;
  if (!hasNode()) return null;
  dawn ??= (async () => {
    const name = 'webgpu'; // by a variable, so that no bundler looks for what a page does not need
    try {
      const { create } = (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)) as {
        create(options: string[]): GPU;
      };
      return create([]);
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
  const requiredFeatures = WANTED.filter((name) => adapter.features.has(name));
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
