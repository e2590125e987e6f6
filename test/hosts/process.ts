/** Node and Deno: each test file is a process of its own. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { compiled } from './compiled.ts';
import type { Host, Report, Running, TestDevice } from './host.ts';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const RUNTIMES = fileURLToPath(new URL('../runtimes/node_modules/.bin/', import.meta.url));

const CALM = fileURLToPath(new URL('./calm-polls.ts', import.meta.url));

/** @param node a path, a name, or `24`: the one of test/runtimes */
export async function nodeHost(node: string, device: TestDevice): Promise<Host> {
  const binary = node === '24' ? installed('node') : node.includes('/') ? resolve(node) : node;
  const place = await compiled();
  const calm = device === 'webgpu' ? ['--import', pathToFileURL(place(CALM)).href] : [];
  return processHost(`Node ${versionOf(binary)}`, device, (file) => [
    binary,
    '--enable-source-maps',
    ...calm,
    place(file),
  ]);
}

export function denoHost(device: TestDevice): Host {
  const binary = installed('deno');
  // the packages that npm installed, and nothing else: no lock file of its own, no download
  const args = ['run', '--allow-all', '--no-lock', '--no-remote', '--node-modules-dir=manual'];
  return processHost(`Deno ${versionOf(binary)}`, device, (file) => [binary, ...args, file]);
}

function processHost(title: string, device: TestDevice, command: (file: string) => readonly string[]): Host {
  const environment = environmentOf(device);
  return {
    title: titleOn(title, device),
    start: (file, report) => start(command(file), environment, report),
    close: async () => {},
  };
}

function start(
  [binary, ...args]: readonly string[],
  environment: Readonly<Record<string, string>>,
  report: Report,
): Running {
  const child = spawn(binary!, args, {
    cwd: PROJECT,
    detached: true, // a group of its own, so that whatever it started can be ended with it
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...environment, FORCE_COLOR: '0', NODE_NO_WARNINGS: '1', DENO_NO_UPDATE_CHECK: '1' },
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

const SWIFTSHADER = '/usr/lib/chromium/vk_swiftshader_icd.json';

/** Tests are told the device; on `webgpu` the GPU is Chromium's program that plays one, unless the environment names a driver. */
function environmentOf(device: TestDevice): Record<string, string> {
  const own = { ...(process.env as Record<string, string>), ESPALIER_DEVICE: device };
  if (device !== 'webgpu' || !existsSync(SWIFTSHADER)) return own;
  return { VK_DRIVER_FILES: SWIFTSHADER, VK_ICD_FILENAMES: SWIFTSHADER, XDG_RUNTIME_DIR: tmpdir(), ...own };
}

/** How a host is called in a run on a device. */
export function titleOn(title: string, device: TestDevice): string {
  return device === 'wasm' ? title : `${title}, on ${device}`;
}

function installed(name: string): string {
  const path = `${RUNTIMES}${name}`;
  if (!existsSync(path)) throw new Error(`${name} is not installed: npm ci --prefix test/runtimes`);
  return path;
}

function versionOf(binary: string): string {
  return /\d+\.\d+\.\d+/.exec(execFileSync(binary, ['--version'], { encoding: 'utf8' }))?.[0] ?? '?';
}
