/** Chromium and Firefox: one browser for a run, and for each test file a fresh page with storage of its own. */
import { existsSync } from 'node:fs';
import { relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { CHROMIUM_SHELL, chromiumDriver, type Driver, firefoxDriver, type Page } from './drivers.ts';
import type { Host, Report, Running, TestDevice } from './host.ts';
import { Modules } from './modules.ts';
import { titleOn } from './process.ts';
import { startServer, type TestServer } from './server.ts';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
/** What page.ts puts before a signal. */
const MARK = '\u0001';

/** @param binary the browser's program, else where Debian puts it */
export async function browserHost(
  name: 'chromium' | 'chromium-plain' | 'firefox',
  device: TestDevice,
  binary?: string,
): Promise<Host> {
  const isolated = name !== 'chromium-plain';
  const driver = name === 'firefox' ? firefoxDriver(binary, device) : chromiumDriver(binary ?? shell(device), device);
  const modules = new Modules();
  const server = await startServer(modules, isolated);
  const version = await driver.version();
  return {
    title: titleOn(`${version}, ${isolated ? 'cross-origin isolated' : 'not isolated'}`, device),
    start: (file, report) => start(driver, modules, server, file, device, report),
    close: async () => {
      await driver.close();
      await server.close();
      await modules.close();
    },
  };
}

/** Without its windows where that is installed; a GPU is asked for in Chromium itself. */
function shell(device: TestDevice): string | undefined {
  return device === 'wasm' && existsSync(CHROMIUM_SHELL) ? CHROMIUM_SHELL : undefined;
}

function start(
  driver: Driver,
  modules: Modules,
  server: TestServer,
  file: string,
  device: TestDevice,
  report: Report,
): Running {
  const address = `/${relative(PROJECT, file).split(sep).join('/')}`;
  let ended = false;
  const end = async (exit: string | null): Promise<void> => {
    if (ended) return;
    ended = true; // nothing more is heard of the page, as of a process that has died
    await page.then((opened) => opened.close()).catch(() => {});
    report.end(exit);
  };
  const page: Promise<Page> = driver.open(`${server.origin}/?${address}${device === 'webgpu' ? '#webgpu' : ''}`, {
    output: (text) => {
      if (ended) return;
      if (text === `${MARK}end`) return void end(null);
      if (text === `${MARK}unloaded`) report.output(modules.problems);
      if (text.startsWith(MARK)) return void end('an uncaught error');
      const plain = modules.mapped(stripVTControlCharacters(text));
      // uvu's marks are one line in a process
      report.output(/^[•✘] $/.test(plain) ? plain : `${plain}\n`);
    },
    crash: (why) => void end(why),
  });
  page.catch((error) => end(`could not start: ${error.message}`));
  return { kill: () => void end('closed') };
}
