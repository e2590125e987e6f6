/** What `doctor` says, for people: two columns of words. */
import type { Task } from '../device/crossover.ts';
import type { Outlook } from '../device/webgpu/choice.ts';
import type { Diagnosis, Rates } from './diagnosis.ts';

/** A browser says its name itself. */
const HOSTS = { node: 'Node ', deno: 'Deno ', bun: 'Bun ', browser: '' } as const;

/** Features that kernels make use of. */
const FEATURES = ['subgroups'];

/** Limits that decide what fits. */
const LIMITS = ['maxBufferSize', 'maxStorageBufferBindingSize', 'maxComputeWorkgroupStorageSize'] as const;

/** Rows of a name and what there is to say; an empty name goes on with the row before. */
export function diagnosisRows({ host, simd, lanes, adapters, rates, auto }: Diagnosis): [string, string][] {
  const rows: [string, string][] = [
    ['host', `${HOSTS[host.name]}${host.version}`.trimEnd() || 'a browser'],
    ['SIMD', simd === 'relaxed' ? 'relaxed: the faster kernels' : 'plain: the engine has no relaxed SIMD'],
    ['lanes', `${lanes} of ${host.cores} ${host.cores === 1 ? 'core' : 'cores'}`],
  ];
  if (!host.sharedMemory) rows.push(['', 'threads share no memory here, so one of them computes']);
  for (const header of host.missingHeaders) rows.push(['', `missing header: ${header}`]);
  if (adapters.length === 0) rows.push(['GPU', 'none that WebGPU can use'], ['', NO_GPU[host.name]]);
  for (const { name, fallback, features, limits } of adapters) {
    rows.push(['GPU', `${name || 'without a name'}${fallback ? ' (a program on the CPU)' : ''}`]);
    const used = FEATURES.filter((feature) => features.includes(feature));
    rows.push(['', used.length === 0 ? 'no features that would be used' : `features ${used.join(', ')}`]);
    const said = LIMITS.flatMap((limit) => (limits[limit] === undefined ? [] : [`${limit} ${bytes(limits[limit])}`]));
    if (said.length > 0) rows.push(['', said.join(', ')]);
  }
  rows.push(...rateRows(rates), ...autoRows(auto));
  return rows;
}

const NO_GPU = {
  node: 'Node needs the package webgpu (npm install webgpu) and a driver, on Linux one for Vulkan',
  bun: 'Bun needs the package webgpu (bun add webgpu) and a driver, on Linux one for Vulkan',
  deno: 'Deno needs a driver, on Linux one for Vulkan',
  browser: 'the browser has no WebGPU, or not for this machine; chrome://gpu or about:support say why',
} as const;

function rateRows({ wasmProduct, wasmRead, gpuProduct, gpuFault }: Rates): [string, string][] {
  const product = (rate: number): string => `${figure(rate)} GFLOP/s in f32 products of 512 x 512`;
  return [
    ['CPU', `${product(wasmProduct)}; weights are read at ${figure(wasmRead)} GB/s`],
    ...(gpuProduct === null ? [] : [['on the GPU', product(gpuProduct)] as [string, string]]),
    ...(gpuFault === null ? [] : [['on the GPU', `failed: ${gpuFault}`] as [string, string]]),
  ];
}

function autoRows({ answering, training }: Diagnosis['auto']): [string, string][] {
  const both = answering.gpuFrom === null && training.gpuFrom === null && answering.why === training.why;
  if (both) return [['auto', `the CPU. ${answering.why}`]];
  return [
    ['auto', autoText('answering', answering)],
    ['', autoText('training', training)],
  ];
}

function autoText(task: Task, { gpuFrom, why }: Outlook): string {
  const where = gpuFrom === null ? 'the CPU' : `the GPU for models of ${gpuFrom / 1e6} million parameters and more`;
  return `${task} on ${where}. ${why}`;
}

const figure = (value: number): string => (value < 10 ? value.toPrecision(2) : value.toFixed(0));

function bytes(value: number): string {
  for (const [size, unit] of [
    [2 ** 40, 'TiB'],
    [2 ** 30, 'GiB'],
    [2 ** 20, 'MiB'],
    [2 ** 10, 'KiB'],
  ] as const) {
    if (value >= 0.99 * size) return `${Number((value / size).toPrecision(3))} ${unit}`;
  }
  return `${value} B`;
}
