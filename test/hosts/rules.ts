/**
 * Does the runner see what it must? Runs it over broken/ in the hosts that are named and holds what it says against what is wrong
 * with each file. Ends with `N passed, N failed`.
 *
 * usage: node --import tsx test/hosts/rules.ts [HOST …]
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { HOSTS, type HostName } from './host.ts';

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));

const NO_TEST = 'it ran no test (is .run() missing?)';
/** Seconds. A busy machine may need more for what does end: then all is run once more, with more. */
const LIMITS = [
  { timeout: 12, leak: 2 },
  { timeout: 60, leak: 20 },
] as const;
/** Hosts at a time: most of a run is waiting for what does not end. */
const AT_ONCE = 3;
type RunLimits = { readonly timeout: number; readonly leak: number };
/** A page that never yields may hold up the next one, which Firefox opens in the same process: it has a run of its own, of this many seconds. */
const BUSY = { name: 'busy', timeout: 6 } as const;
/** The same words for any limits. */
const ENDLESS = 'still running after its time';
const LEAK = 'a handle keeps it alive after its summary';
const OUT = 'left out';
const lost = (host: HostName): string =>
  host === 'node' || host === 'deno' ? 'exit code 1 before its summary' : 'an uncaught error before its summary';
const inProcess = (want: string) => (host: HostName) => (host === 'node' || host === 'deno' ? want : OUT);

/** What the runner must say of each file: its fault, null for none, or that it is left out. */
const EXPECTED: Record<string, (host: HostName) => string | null> = {
  asleep: () => ENDLESS,
  busy: () => ENDLESS,
  elsewhere: () => OUT,
  exit: inProcess('exit code 1 before its summary'), // uvu sees to that
  failing: () => null,
  forgotten: () => NO_TEST,
  good: () => null,
  killed: inProcess('ended by SIGKILL before its summary'),
  leak: () => LEAK,
  'leaked-worker': (host) => (host === 'node' ? OUT : LEAK),
  missing: lost,
  prolonged: () => OUT,
  rejection: lost,
  throws: lost,
  undeclared: () =>
    'Write "// hosts: node, deno, chromium, chromium-plain, firefox — why", not "// hosts: node, netscape".',
  undevised: () => 'Write "// device: wasm or webgpu — why", not "// device: cuda — why".',
  unreasoned: () => 'Write "// long — why", not "// long".',
  zero: () => NO_TEST,
};

/** A program that did not end with 0. */
type Ended = { readonly stdout: string; readonly stderr: string; readonly code: number | null };

async function run(host: HostName, { timeout, leak }: RunLimits, which: readonly string[]): Promise<Ran> {
  const args = [
    ...['--host', host, '--root', path('broken')],
    ...['--timeout', `${timeout}`, '--leak', `${leak}`, '--jobs', '4'],
    ...which,
  ];
  const command = ['--import', 'tsx', path('../run.ts'), ...args];
  const { stdout, stderr, code } = await promisify(execFile)(process.execPath, command, { timeout: 900_000 }).then(
    // it should not: files fail
    (ran) => ({ ...ran, code: 0 }),
    (failed: Ended) => failed,
  );
  const output = (stdout + stderr)
    .replaceAll(`still running after ${timeout} s`, ENDLESS)
    .replaceAll(`a handle keeps it alive ${leak} s after its summary`, LEAK);
  return { output, code };
}

/** What it said of a file. */
function said(output: string, name: string): string | null | undefined {
  if (new RegExp(`^\\d+ left out: .*\\b${name}\\.test\\.ts \\(.+\\)`, 'm').test(output)) return OUT;
  const found = new RegExp(`^(?:FAIL|ok {2}) ${name}\\.test\\.ts .*\\n(?: {5}(\\S.*)\\n)?`, 'm').exec(output);
  const line = found?.[1];
  return found ? (line === undefined || line.startsWith('|') ? null : line) : undefined;
}

function lastLine(output: string): string | undefined {
  return /^\d+ passed, \d+ failed$/m.exec(output)?.[0];
}

interface Check {
  readonly what: string;
  readonly got: unknown;
  readonly want: unknown;
}

interface Ran {
  readonly output: string;
  readonly code: number | null;
}

/** What is held against what must be, of a run over all files but one, and of that one's. */
function checks(host: HostName, { output, code }: Ran, busy: Ran): Check[] {
  const wanted = Object.entries(EXPECTED).map(([name, want]) => [name, want(host)] as const);
  // of all these files two tests pass and one fails by itself
  const faults = wanted.filter(([name, want]) => name !== BUSY.name && want !== null && want !== OUT).length;
  // the leaks pass their test before they are found
  const leaks = wanted.filter(([, want]) => want === LEAK).length;
  return [
    ...wanted.map(([name, want]) => ({ what: name, got: said(name === BUSY.name ? busy.output : output, name), want })),
    { what: 'the last line of one', got: lastLine(busy.output), want: '0 passed, 1 failed' },
    { what: 'the exit code of one', got: busy.code, want: 1 },
    { what: 'the last line', got: lastLine(output), want: `${2 + leaks} passed, ${faults + 1} failed` },
    { what: 'the exit code', got: code, want: 1 },
    { what: 'what a passing file tells', got: /^ {7}worst of all: 1$/m.test(output), want: true },
    { what: 'what is skipped', got: /^1 skipped$/m.test(output), want: true },
  ];
}

let passed = 0;
let failed = 0;
const named = process.argv.slice(2);
for (const name of named)
  if (!HOSTS.includes(name as HostName)) throw new Error(`${name} is none of ${HOSTS.join(', ')}.`);

async function look(host: HostName): Promise<void> {
  const busy = await run(host, { ...LIMITS[0], timeout: BUSY.timeout }, [BUSY.name]);
  let output = '';
  let all: Check[] = [];
  let wrong: Check[] = [];
  for (const limits of LIMITS) {
    const ran = await run(host, limits, ['--without', BUSY.name]);
    output = ran.output + busy.output;
    all = checks(host, ran, busy);
    wrong = all.filter(({ got, want }) => got !== want);
    if (wrong.length === 0) break;
  }
  passed += all.length - wrong.length;
  failed += wrong.length;
  for (const { what, got, want } of wrong)
    console.log(`FAIL ${host}, ${what}: ${JSON.stringify(got)} instead of ${JSON.stringify(want)}`);
  console.log(`${wrong.length === 0 ? 'ok  ' : 'FAIL'} ${host}`);
  if (wrong.length > 0) console.log(output.replaceAll(/^/gm, '     | '));
}

const hosts = HOSTS.filter((name) => (named.length ? named : ['node']).includes(name));
const lane = async (): Promise<void> => {
  for (let host = hosts.pop(); host; host = hosts.pop()) await look(host);
};
await Promise.all(Array.from({ length: AT_ONCE }, lane));
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
