/** Apps of one line, built by each bundler. An app is a folder in which `espalier` and the bundler are installed; a result is a site. */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

/** Continues a text and prints one line of JSON. */
const RUN = `import { open } from 'espalier';
export async function run(options) {
  const model = await open(new URL('/models/nano-base/', location.href), options);
  const text = await model.generate('Once upon a time', { maxTokens: 48 }).text();
  console.log(JSON.stringify({ text, lanes: model.lanes, isolated: crossOriginIsolated }));
  await model.close();
}
`;

const PAGE = '<!doctype html><title>page</title><script type="module" src="/main.js"></script>';

export interface Builder {
  /** To be installed beside espalier. */
  readonly needs: readonly string[];
  /**
   * @param minify whether the result is made small, if that can be left out. Default true
   * @returns the folder of the site, with `index.html`. Throws what the bundler complains of, warnings included.
   */
  build(app: string, minify?: boolean): Promise<string>;
}

/** A module of what is installed in a folder. */
// biome-ignore lint/suspicious/noExplicitAny: bundlers that the project does not depend on, whose types are not there
async function load(folder: string, name: string): Promise<any> {
  return import(pathToFileURL(createRequire(join(folder, 'package.json')).resolve(name)).href);
}

function write(folder: string, name: string, text: string): string {
  const file = join(folder, name);
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, text);
  return file;
}

/** The entry of an app, with options of `open` as they stand in the source. */
function entry(app: string, options = ''): string {
  write(app, 'run.js', RUN);
  return write(app, 'main.js', `import { run } from './run.js';\nawait run(${options});\n`);
}

function next(name: string, flags: readonly string[]): Builder {
  return {
    needs: ['next@16.4.6', 'react@19.3.1', 'react-dom@19.3.1'],
    async build(app) {
      const source = join(app, name);
      write(source, 'package.json', '{ "private": true, "type": "module" }');
      write(source, 'next.config.mjs', "export default { output: 'export' };\n");
      write(source, 'app/run.js', RUN);
      write(
        source,
        'app/layout.js',
        'export default function Layout({ children }) { return <html lang="en"><body>{children}</body></html>; }\n',
      );
      write(
        source,
        'app/page.js',
        `'use client';
import { useEffect } from 'react';
import { run } from './run.js';
export default function Page() {
  useEffect(() => void run(), []);
  return <p>page</p>;
}
`,
      );
      const program = createRequire(join(app, 'package.json')).resolve('next/dist/bin/next');
      await promisify(execFile)(process.execPath, [program, 'build', ...flags], {
        cwd: source,
        env: { ...process.env, NEXT_TELEMETRY_DISABLED: '1', NODE_OPTIONS: '' },
      });
      return join(source, 'out');
    },
  };
}

export const builders: Readonly<
  Record<'webpack' | 'vite' | 'rollup' | 'esbuild' | 'next' | 'next with webpack', Builder>
> = {
  webpack: {
    needs: ['webpack@5.113.0'],
    async build(app, minify = true) {
      const { default: webpack } = await load(app, 'webpack');
      const site = join(app, 'site-webpack');
      const options = {
        mode: 'production',
        context: app,
        entry: entry(app),
        output: { path: site, filename: 'main.js' },
        performance: { hints: false },
        optimization: { minimize: minify },
      };
      const stats = await promisify(webpack)(options);
      const said = (stats as { toString(kind: object): string }).toString({ all: false, errors: true, warnings: true });
      if (said !== '') throw new Error(said);
      write(site, 'index.html', PAGE);
      return site;
    },
  },
  vite: {
    needs: ['vite@8.4.0'],
    async build(app) {
      const { build } = await load(app, 'vite');
      const source = join(app, 'vite');
      entry(source);
      write(source, 'index.html', PAGE);
      await build({ root: source, logLevel: 'error', build: { outDir: join(app, 'site-vite') } });
      return join(app, 'site-vite');
    },
  },
  // the workers become files of the app as they are, and look for the kernels beside their folder
  rollup: {
    needs: ['rollup@4.68.8', '@rollup/plugin-node-resolve@16.0.3', '@web/rollup-plugin-import-meta-assets@2.3.3'],
    async build(app) {
      const { rollup } = await load(app, 'rollup');
      const { default: resolve } = await load(app, '@rollup/plugin-node-resolve');
      const { importMetaAssets } = await load(app, '@web/rollup-plugin-import-meta-assets');
      const site = join(app, 'site-rollup');
      const onwarn = (warning: Error) => {
        throw warning;
      };
      const bundle = await rollup({
        input: entry(app),
        plugins: [resolve({ browser: true }), importMetaAssets()],
        onwarn,
      });
      await bundle.write({ dir: site, format: 'es' });
      cpSync(join(app, 'node_modules/espalier/dist/build'), join(site, 'build'), { recursive: true });
      write(site, 'index.html', PAGE);
      return site;
    },
  },
  // it finds no workers: they are copied, and said where they are
  esbuild: {
    needs: ['esbuild@0.28.2'],
    async build(app) {
      const { build } = await load(app, 'esbuild');
      const site = join(app, 'site-esbuild');
      const at = (name: string) =>
        `${name}: '/espalier/workers/${name.replace('Location', '').replace('worker', 'engine')}.js'`;
      await build({
        entryPoints: [entry(app, `{ ${at('workerLocation')}, ${at('laneLocation')} }`)],
        bundle: true,
        format: 'esm',
        external: ['node:*'],
        outfile: join(site, 'main.js'),
        logLevel: 'error',
      });
      for (const part of ['workers', 'build'])
        cpSync(join(app, 'node_modules/espalier/dist', part), join(site, 'espalier', part), { recursive: true });
      write(site, 'index.html', PAGE);
      return site;
    },
  },
  next: next('next', []),
  'next with webpack': next('next-webpack', ['--webpack']),
};
