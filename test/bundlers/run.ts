/**
 * Packs the package, installs it with each bundler in a folder under the system's temporary one, builds an app and runs it in Chromium, cross-origin
 * isolated and not: `node --import tsx test/bundlers/run.ts [NAME …]`. It downloads some 300 MB; webpack and Vite run in the tests as well.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openLocal } from '../../src/open-local.ts';
import { chromium, printed, serveFolders } from '../engine/pages.ts';
import { builders } from './builders.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const wanted = process.argv.slice(2);
const chosen = Object.entries(builders).filter(([name]) => wanted.length === 0 || wanted.includes(name));
const app = mkdtempSync(join(tmpdir(), 'espalier-bundlers-'));
const npm = (args: readonly string[], cwd: string) =>
  execFileSync('npm', [...args], { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

const model = await openLocal(`${root}models/nano-base`);
const { text: want } = await model.generate('Once upon a time', { maxTokens: 48 }).result();
model.close();
const driver = await chromium();
let passed = 0;
let failed = driver ? 0 : 1;
try {
  const tarball = npm(['pack', '--silent', '--pack-destination', app], root).trim().split('\n').at(-1)!;
  writeFileSync(join(app, 'package.json'), '{ "private": true, "type": "module" }');
  npm(['install', '--no-audit', '--no-fund', `./${tarball}`, ...new Set(chosen.flatMap(([, b]) => b.needs))], app);
  for (const [name, builder] of driver ? chosen : []) {
    try {
      const site = await builder.build(app);
      for (const isolated of [false, true]) {
        const server = await serveFolders({ '': site, models: `${root}models` }, isolated);
        const lines = await printed(driver!, `${server.origin}/`, (line) => /^\{|Error/.test(line));
        await server.close();
        const told = JSON.parse(lines.at(-1)!);
        if (told.text !== want || told.isolated !== isolated) throw new Error(JSON.stringify(told));
      }
      passed++;
      console.log(`ok   ${name}`);
    } catch (error) {
      failed++;
      console.log(`FAIL ${name}\n${(error as { stdout?: string }).stdout ?? ''}${(error as Error).stack}`);
    }
  }
} finally {
  await driver?.close();
  rmSync(app, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
