/** Node and Deno: each test file is a process of its own. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compiled } from './compiled.ts';
import type { Host, Report, Running } from './host.ts';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const RUNTIMES = fileURLToPath(new URL('../runtimes/node_modules/.bin/', import.meta.url));

/** @param node a path, a name, or `24`: the one of test/runtimes */
export async function nodeHost(node: string): Promise<Host> {
  const binary = node === '24' ? installed('node') : node.includes('/') ? resolve(node) : node;
  const place = await compiled();
  return processHost(`Node ${versionOf(binary)}`, (file) => [binary, '--enable-source-maps', place(file)]);
}

export function denoHost(): Host {
  const binary = installed('deno');
  // the packages that npm installed, and nothing else: no lock file of its own, no download
  const args = ['run', '--allow-all', '--no-lock', '--no-remote', '--node-modules-dir=manual'];
  return processHost(`Deno ${versionOf(binary)}`, (file) => [binary, ...args, file]);
}

function processHost(title: string, command: (file: string) => readonly string[]): Host {
  return {
    title,
    start: (file, report) => start(command(file), report),
    close: async () => {},
  };
}

function start([binary, ...args]: readonly string[], report: Report): Running {
  const child = spawn(binary!, args, {
    cwd: PROJECT,
    detached: true, // a group of its own, so that whatever it started can be ended with it
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...softwareGpu(), ...process.env, FORCE_COLOR: '0', NODE_NO_WARNINGS: '1', DENO_NO_UPDATE_CHECK: '1' },
  });
  child.stdout.setEncoding('utf8').on('data', report.output);
  child.stderr.setEncoding('utf8').on('data', report.output);
  child.on('error', (error) => report.end(`could not start: ${error.message}`));
  child.on('close', (code, signal) => {
    report.end(code === 0 ? null : signal ? `ended by ${signal}` : `exit code ${code}`);
  });
  return {
    kill: () => {
      try {
        process.kill(-child.pid!, 'SIGKILL');
      } catch {
        child.kill('SIGKILL');
      }
    },
  };
}

/** Chromium's program that plays a GPU, for runs on `webgpu`, unless the environment names a driver. */
function softwareGpu(): Record<string, string> {
  const driver = '/usr/lib/chromium/vk_swiftshader_icd.json';
  if (process.env['ESPALIER_DEVICE'] !== 'webgpu' || !existsSync(driver)) return {};
  return { VK_DRIVER_FILES: driver, VK_ICD_FILENAMES: driver, XDG_RUNTIME_DIR: tmpdir() };
}

function installed(name: string): string {
  const path = `${RUNTIMES}${name}`;
  if (!existsSync(path)) throw new Error(`${name} is not installed: npm ci --prefix test/runtimes`);
  return path;
}

function versionOf(binary: string): string {
  return /\d+\.\d+\.\d+/.exec(execFileSync(binary, ['--version'], { encoding: 'utf8' }))?.[0] ?? '?';
}
