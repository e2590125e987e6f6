// hosts: node — compiles, and reads the built package
/** What the package holds beside code that runs: types that compile everywhere, licences of what is bundled, maps of our own files. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const root = fileURLToPath(new URL('../..', import.meta.url));
const isBuilt = existsSync(`${root}dist/THIRD-PARTY-LICENCES.txt`);
if (!isBuilt) console.log('  skipped: the built package (run `npm run build` first)');
const when = isBuilt ? test : test.skip;
const faces = Object.keys(JSON.parse(readFileSync(`${root}package.json`, 'utf8')).exports)
  .filter((name) => !name.includes('*'))
  .map((name) => `espalier${name.slice(1)}`);

/** A program that names every face, and the types that differ between hosts. */
const PROGRAM = `${faces.map((face, i) => `import * as face${i} from '${face}';`).join('\n')}
import { open, type Model, type ModelTarget } from 'espalier';
export const all: object[] = [${faces.map((_, i) => `face${i}`).join(', ')}];
export async function run(target: ModelTarget, signal: AbortSignal): Promise<string> {
  const model: Model = await open(target, { signal });
  await model.encode('a', { signal });
  for await (const token of model.generate('a', { signal })) token.text satisfies string;
  await model[Symbol.asyncDispose]();
  return model.name;
}
// @ts-expect-error: what is wrong is still found
export const wrong: Promise<number> = run(5, 5);
`;

when('the types compile with skipLibCheck false: with and without DOM, with and without types of Node', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'espalier-types-'));
  try {
    writeFileSync(join(folder, 'program.mts'), PROGRAM);
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
    const { mkdirSync } = await import('node:fs');
    mkdirSync(join(folder, 'node_modules/@types'), { recursive: true });
    symlinkSync(root, join(folder, 'node_modules/espalier'));
    for (const name of ['@types/node', 'undici-types'])
      symlinkSync(`${root}node_modules/${name}`, join(folder, 'node_modules', name));
    const base = { strict: true, noEmit: true, skipLibCheck: false, target: 'es2022' };
    const nodenext = { module: 'nodenext', moduleResolution: 'nodenext' };
    const bundler = { module: 'esnext', moduleResolution: 'bundler' };
    const kinds = {
      'nothing but the language': { ...base, ...nodenext, lib: ['es2022'], types: [] },
      Node: { ...base, ...nodenext, lib: ['es2022'], types: ['node'] },
      'a page, bundled': { ...base, ...bundler, lib: ['es2022', 'dom'], types: [] },
      'all there is': { ...base, ...bundler, lib: ['esnext', 'dom', 'dom.iterable'], types: ['node'] },
    };
    const tsc = `${root}node_modules/typescript/bin/tsc`;
    await Promise.all(
      Object.entries(kinds).map(async ([name, compilerOptions], i) => {
        const config = join(folder, `tsconfig.${i}.json`);
        writeFileSync(config, JSON.stringify({ compilerOptions, files: ['program.mts'] }));
        const run = promisify(execFile)(process.execPath, [tsc, '-p', config], { cwd: folder });
        const { stdout } = await run.catch((error) => ({ stdout: `${error.stdout}${error.stderr}` }));
        assert.is(stdout.split('\n').slice(0, 5).join('\n'), '', name);
      }),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

when('every package that is bundled stands in the file of licences, with its text', async () => {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: [
      'src/index.ts',
      ...readdirSync(`${root}workers`).flatMap((n) => (n.endsWith('.ts') ? `workers/${n}` : [])),
    ],
    bundle: true,
    outdir: 'out',
    format: 'esm',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    external: ['node:*'],
    metafile: true,
    write: false,
    logLevel: 'silent',
  });
  const names = new Set(
    Object.keys(metafile.inputs).flatMap((path) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? []),
  );
  assert.ok(names.has('comlink'), [...names].join(' '));
  const text = readFileSync(`${root}dist/THIRD-PARTY-LICENCES.txt`, 'utf8');
  for (const name of names) {
    const { version } = JSON.parse(readFileSync(`${root}node_modules/${name}/package.json`, 'utf8'));
    assert.match(text, `\n${name} ${version}\nLicence: `);
    const licence = readdirSync(`${root}node_modules/${name}`).find((file) => /^licen[cs]e/i.test(file))!;
    assert.ok(text.includes(readFileSync(`${root}node_modules/${name}/${licence}`, 'utf8').trim()), name);
  }
});

when('maps hold no text of others, and lead nowhere outside the package', () => {
  const maps = readdirSync(`${root}dist`, { recursive: true }).filter((name) => String(name).endsWith('.map'));
  assert.ok(maps.length >= 5);
  for (const name of maps) {
    const map = JSON.parse(readFileSync(`${root}dist/${name}`, 'utf8'));
    assert.not('sourcesContent' in map, String(name));
    assert.ok(map.sources.some((source: string) => source.startsWith('../../src/')));
    for (const source of map.sources) assert.match(source, /^(\.\.\/\.\.\/(src|workers)\/|node_modules\/)/);
  }
});

test.run();
