/** `npm run bench -- NAME [--json] [--option value]`: runs one benchmark suite, or lists them. */
import type { Context, Suite } from './suite.ts';

const SUITES: Record<string, () => Promise<{ default: Suite }>> = {
  against: () => import('./against.ts'),
  batch: () => import('./batch.ts'),
  browser: () => import('./browser.ts'),
  devices: () => import('./devices.ts'),
  gemm: () => import('./gemm.ts'),
  grow: () => import('./grow.ts'),
  lanes: () => import('./lanes.ts'),
  micro: () => import('./micro.ts'),
  model: () => import('./model.ts'),
  peak: () => import('./peak/suite.ts'),
  projection: () => import('./projection.ts'),
  show: () => import('./show.ts'),
  svd: () => import('./svd.ts'),
  train: () => import('./train.ts'),
  types: () => import('./types.ts'),
  unlearn: () => import('./unlearn.ts'),
  where: () => import('./where.ts'),
};

function parse(args: readonly string[]): { names: string[]; flags: Record<string, string | true> } {
  const names: string[] = [];
  const flags: Record<string, string | true> = {};
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (!arg.startsWith('--')) names.push(arg);
    else if (arg === '--json' || args[i + 1] === undefined || args[i + 1]!.startsWith('--')) flags[arg.slice(2)] = true;
    else flags[arg.slice(2)] = args[++i]!;
  }
  return { names, flags };
}

async function list(): Promise<void> {
  console.log('usage: npm run bench -- NAME [--json] [--option value]\n');
  for (const [name, load] of Object.entries(SUITES)) console.log(`  ${name.padEnd(10)}${(await load()).default.about}`);
}

async function main(): Promise<number> {
  const { names, flags } = parse(process.argv.slice(2));
  const load = names.length === 1 ? SUITES[names[0]!] : undefined;
  if (!load) {
    if (names.length) console.error(`There is no suite "${names.join(' ')}".\n`);
    await list();
    return names.length ? 1 : 0;
  }
  const json = flags['json'] === true;
  const context: Context = { flags, print: (text) => json || console.log(text) };
  const result = await (await load()).default.run(context);
  if (json) console.log(JSON.stringify(result));
  return 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error);
  process.exitCode = 1;
}
