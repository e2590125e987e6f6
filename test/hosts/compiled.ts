/**
 * All TypeScript of the project as Node runs it, compiled once: types are stripped a hundred times faster here than by each process and
 * each of its workers. What is compiled stands in a folder named by a digest of all sources, so that it is never that of others.
 * Code is found there, and everything else where it lies: `import.meta.url` of a test is its source's, but where it names a module.
 * A worker is joined with what it imports, as the build joins it, and so is the command: both begin again and again, and hundreds of modules
 * take four times as long.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { type BuildOptions, build, type Plugin, version } from 'esbuild';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const COMPILED = join(PROJECT, 'build/node');
const FOLDERS = ['src', 'workers', 'test', 'examples', 'bench', 'scripts'];
/** After that long nobody runs what is there any more. */
const OLD = 6 * 3600e3;

/** Where a source stands when it is compiled. */
export type Place = (source: string) => string;

export async function compiled(): Promise<Place> {
  const digest = createHash('sha256').update(version);
  const sources = new Map<string, string>();
  const all = await names();
  const texts = await Promise.all(all.map((name) => readFile(join(PROJECT, name), 'utf8')));
  for (const [i, name] of all.entries()) {
    const text = texts[i]!;
    digest.update(`${name}\0${text.length}\0`).update(text);
    sources.set(name, text);
  }
  const folder = join(COMPILED, digest.digest('hex').slice(0, 16));
  if (!existsSync(folder)) await compile(sources, folder);
  return (source) => join(folder, relative(PROJECT, source).replace(/\.ts$/, '.js'));
}

async function names(): Promise<string[]> {
  const lists = await Promise.all(
    FOLDERS.map(async (folder) => {
      const inside = await readdir(join(PROJECT, folder), { recursive: true });
      return inside.map((name) => join(folder, name));
    }),
  );
  return lists
    .flat()
    .filter((name) => /(?<!\.d)\.ts$/.test(name) && !/(^|[\\/])node_modules[\\/]/.test(name))
    .sort();
}

/** Whether a process or a worker begins with a source: a worker, what a test makes of one, and the command. */
const begins = (name: string, text: string): boolean =>
  /^(workers|src[\\/]cli[\\/]main)\b/.test(name) ||
  (!name.endsWith('.test.ts') && /^import '[./]+\/workers\//m.test(text));

async function compile(sources: ReadonlyMap<string, string>, folder: string): Promise<void> {
  const temporary = `${folder}.${process.pid}`;
  await rm(temporary, { recursive: true, force: true });
  const common: BuildOptions = {
    absWorkingDir: PROJECT,
    outbase: PROJECT,
    outdir: temporary,
    bundle: true,
    treeShaking: false,
    format: 'esm',
    platform: 'node',
    target: 'es2022',
    sourcemap: 'inline',
    sourcesContent: false,
    logLevel: 'error',
  };
  const [firsts, others] = [true, false].map((first) =>
    [...sources].flatMap(([name, text]) => (begins(name, text) === first ? name : [])),
  ) as [string[], string[]];
  await build({ ...common, entryPoints: others, plugins: [alone(temporary)] });
  const chunks = { splitting: true, chunkNames: 'chunks/[hash]', packages: 'external' } as const;
  await build({ ...common, ...chunks, entryPoints: firsts, plugins: [joined(folder)] });
  // the kernels, and models of the package: as beside `dist/src`
  await symlink('../..', join(temporary, 'build'));
  await symlink('../../../models', join(temporary, 'models'));
  await forgetOld();
  await rename(temporary, folder).catch((error) => {
    // another run was faster
    if (!existsSync(folder)) throw error;
    return rm(temporary, { recursive: true });
  });
}

/** Each module stays one, and finds others where they are compiled. */
function alone(out: string): Plugin {
  return {
    name: 'alone',
    setup: ({ onResolve, onLoad }) => {
      onResolve({ filter: /^/ }, ({ kind, path, importer }) => {
        if (kind === 'entry-point') return undefined;
        if (!path.startsWith('.')) return { path, external: true };
        if (path.endsWith('.ts')) return { path: path.replace(/\.ts$/, '.js'), external: true };
        const at = join(out, relative(PROJECT, dirname(importer)));
        const from = relative(at, join(dirname(importer), path));
        return { path: from.startsWith('.') ? from : `./${from}`, external: true };
      });
      onLoad({ filter: /\.ts$/ }, async ({ path }) => ({ contents: await placed(path), loader: 'ts' }));
    },
  };
}

/** Each module knows where it would lie in a folder of its own. */
function joined(folder: string): Plugin {
  return {
    name: 'joined',
    setup: ({ onLoad }) => {
      onLoad({ filter: /\.ts$/ }, async ({ path }) => {
        const here = join(folder, relative(PROJECT, path).replace(/\.ts$/, '.js'));
        const text = await placed(path);
        return { contents: text.replaceAll(/\bimport\.meta ?\.url\b/g, url(here)), loader: 'ts' };
      });
    },
  };
}

/** A source whose addresses of modules are those of what is compiled, and all others, where it is no part of the library, its own. */
async function placed(path: string): Promise<string> {
  const text = await readFile(path, 'utf8');
  const modules = text.replaceAll(/new URL\(('[^']+)\.ts', import\.meta\.url\)/g, "new URL($1.js', import.meta .url)");
  const isLibrary = /^(src|workers)[\\/]/.test(relative(PROJECT, path));
  return isLibrary ? modules : modules.replaceAll(/\bimport\.meta\.url\b/g, url(path));
}

const url = (path: string): string => JSON.stringify(pathToFileURL(path).href);

async function forgetOld(): Promise<void> {
  const inside = await readdir(COMPILED).catch(() => []);
  await mkdir(COMPILED, { recursive: true });
  for (const name of inside) {
    const path = join(COMPILED, name);
    const isOld = await stat(path).then(
      ({ ctimeMs }) => Date.now() - ctimeMs > OLD,
      () => false,
    );
    if (isOld) await rm(path, { recursive: true, force: true });
  }
}
