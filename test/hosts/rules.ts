/**
 * Does the runner see what it must? Runs it over broken/ in the hosts that are named and holds what it says against what is wrong
 * with each file. Ends with `N passed, N failed`.
 *
 * usage: node --import tsx test/hosts/rules.ts [HOST …]
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { HOSTS, type HostName } from './host.ts';

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));

const NO_TEST = 'it ran no test (is .run() missing?)';
const ENDLESS = 'still running after 12 s';
const LEAK = 'a handle keeps it alive 2 s after its summary';
const OUT = 'left out';
const lost = (host: HostName): string =>
  host === 'node' || host === 'deno' ? 'exit code 1 before its summary' : 'an uncaught error before its summary';
const inProcess = (want: string) => (host: HostName) => (host === 'node' || host === 'deno' ? want : OUT);

/** What the runner must say of each file: its fault, null for none, or that it is left out. */
const EXPECTED: Record<string, (host: HostName) => string | null> = {
  asleep: () => ENDLESS,
  busy: () => ENDLESS,
  exit: inProcess('exit code 1 before its summary'), // uvu sees to that
  failing: () => null,
  forgotten: () => NO_TEST,
  good: () => null,
  killed: inProcess('ended by SIGKILL before its summary'),
  leak: () => LEAK,
  'leaked-worker': (host) => (host === 'node' ? OUT : LEAK),
  missing: lost,
  rejection: lost,
  throws: lost,
  undeclared: () =>
    'Write "// hosts: node, deno, chromium, chromium-plain, firefox — why", not "// hosts: node, netscape".',
  zero: () => NO_TEST,
};

function run(host: HostName): { output: string; code: number | null } {
  const args = ['--host', host, '--root', path('broken'), '--timeout', '12', '--leak', '2'];
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--import', 'tsx', path('../run.ts'), ...args], {
    encoding: 'utf8',
    timeout: 180_000,
  });
  return { output: stdout + stderr, code: status };
}

/** What it said of a file. */
function said(output: string, name: string): string | null | undefined {
  if (new RegExp(`^\\d+ left out: .*\\b${name}\\.test\\.ts \\(.+\\)`, 'm').test(output)) return OUT;
  const found = new RegExp(`^(?:FAIL|ok {2}) ${name}\\.test\\.ts .*\\n(?: {5}(\\S.*)\\n)?`, 'm').exec(output);
  const line = found?.[1];
  return found ? (line === undefined || line.startsWith('|') ? null : line) : undefined;
}

let passed = 0;
let failed = 0;
function check(host: HostName, what: string, got: unknown, want: unknown): void {
  if (got === want) passed++;
  else failed++;
  if (got !== want) console.log(`FAIL ${host}, ${what}: ${JSON.stringify(got)} instead of ${JSON.stringify(want)}`);
}

const named = process.argv.slice(2);
for (const name of named)
  if (!HOSTS.includes(name as HostName)) throw new Error(`${name} is none of ${HOSTS.join(', ')}.`);
for (const host of HOSTS.filter((name) => (named.length ? named : ['node']).includes(name))) {
  const { output, code } = run(host);
  const before = failed;
  const wanted = Object.entries(EXPECTED).map(([name, want]) => [name, want(host)] as const);
  for (const [name, want] of wanted) check(host, name, said(output, name), want);
  // of all these files two tests pass and one fails by itself
  const faults = wanted.filter(([, want]) => want !== null && want !== OUT).length;
  const passing = /^(\d+) passed, (\d+) failed$/m.exec(output);
  // the leaks pass their test before they are found
  const leaks = wanted.filter(([, want]) => want === LEAK).length;
  check(host, 'the last line', passing?.[0], `${2 + leaks} passed, ${faults + 1} failed`);
  check(host, 'the exit code', code, 1);
  check(host, 'what a passing file tells', /^ {7}worst of all: 1$/m.test(output), true);
  check(host, 'what is skipped', /^1 skipped$/m.test(output), true);
  console.log(`${failed === before ? 'ok  ' : 'FAIL'} ${host}`);
  if (failed > before) console.log(output.replaceAll(/^/gm, '     | '));
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
