/**
 * Runs in a browser's page: imports one test file and tells the runner, by the console, what a process would tell by its end. A
 * process ends by itself when nothing is left to wait for; a page does not, so timers and workers are counted here.
 */
const MARK = '\u0001';

const { setTimeout, clearTimeout, setInterval, clearInterval, console, Worker } = globalThis;
const debug = console.debug.bind(console);
const say = (signal: 'end' | 'fail' | 'unloaded'): void => debug(MARK + signal);

let summarised = false;
for (const name of ['log', 'info', 'warn', 'error', 'debug'] as const) {
  console[name] = (...parts: unknown[]) => {
    const text = parts.map((part) => (typeof part === 'string' ? part : shown(part))).join(' ');
    debug(text);
    if (text.startsWith('\n  Duration:')) summarised = true; // the last that uvu says
  };
}

function shown(value: unknown): string {
  if (value instanceof Error) return described(value);
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}

/** Not every engine puts the message in the stack. */
function described(error: Error): string {
  const stack = error.stack ?? '';
  return stack.includes(error.message) ? stack : `${error.name}: ${error.message}\n${stack}`;
}

// ---- what is left to wait for

const timers = new Set<unknown>();
const workers = new Set<Worker>();

type Callback = (...args: unknown[]) => void;
const start =
  (host: (run: Callback, ms?: number) => unknown, once: boolean) =>
  (run: Callback, ms?: number, ...args: unknown[]) => {
    const id = host(() => {
      if (once) timers.delete(id);
      run(...args);
    }, ms);
    timers.add(id);
    return id;
  };
const stop = (host: (id?: number) => void) => (id?: number) => {
  timers.delete(id);
  host(id);
};
Object.assign(globalThis, {
  setTimeout: start(setTimeout, true),
  setInterval: start(setInterval, false),
  clearTimeout: stop(clearTimeout),
  clearInterval: stop(clearInterval),
  Worker: class extends Worker {
    constructor(...args: ConstructorParameters<typeof Worker>) {
      super(...args);
      workers.add(this);
    }
    override terminate(): void {
      workers.delete(this);
      super.terminate();
    }
  },
});

// ---- the file

function fail(reason: unknown, signal: 'fail' | 'unloaded' = 'fail'): void {
  debug(shown(reason));
  say(signal);
}

addEventListener('error', (event) => fail(event.error ?? event.message));
addEventListener('unhandledrejection', (event) => fail(event.reason));

/** Did the file call `.run()`? */
function queued(): boolean {
  const groups = (globalThis as { UVU_QUEUE?: unknown[][] }).UVU_QUEUE ?? [];
  return groups.some((group) => group.some((entry) => typeof entry === 'function'));
}

let told = false;
function watch(): void {
  if (!queued() || (summarised && timers.size + workers.size === 0)) {
    say('end');
    return;
  }
  if (summarised && !told) {
    debug(`left: ${timers.size} timers, ${workers.size} workers`);
    told = true;
  }
  setTimeout(watch, 20);
}

import(location.search.slice(1)).then(watch, (error) => fail(error, 'unloaded'));
