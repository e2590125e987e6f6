/**
 * Does the house stand as docs/architecture.md says? Imports point down from room to room, no circle between files, no file over 400
 * lines, no name that is gone, no file that nothing imports, and the map there has every room. Types count: a circle of types is one for
 * readers too. Prints what is wrong; exits 1 if anything is.
 *
 * usage: node scripts/check-house.mjs [--list]   (--list: the rooms, and which imports which)
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const MOST_LINES = 400;

/** From the top. A room may import what stands below it; rooms of one line do not know each other. */
const ROOMS = [
  ['cli'],
  ['workers', 'faces'],
  ['engine'],
  ['evaluate'],
  ['prune'],
  ['show', 'grow', 'merge', 'train'],
  ['datasets', 'open', 'doctor', 'page'],
  ['model', 'svd'],
  ['checkpoint', 'device'],
  ['runtime'],
  ['options'],
  ['base'],
];
/** Files that stand in no folder of `src/`. */
const LOOSE = {
  'src/index.ts': 'faces',
  'src/local.ts': 'faces',
  'src/grow.ts': 'faces',
  'src/show.ts': 'faces',
  'src/scores.ts': 'faces',
  'src/train.ts': 'faces',
  'src/prune.ts': 'faces',
  'src/doctor.ts': 'faces',
  'src/svd/index.ts': 'faces',
  'src/open-local.ts': 'open',
  'src/inspect.ts': 'open',
  'src/element-types.ts': 'base',
  'src/errors.ts': 'base',
  'src/named-errors.ts': 'base',
  'src/queue.ts': 'base',
  'src/random.ts': 'base',
};
/** What nobody here imports: where programs and threads begin. Any other file would be forgotten. */
const BEGINNINGS = /^workers\/|^src\/(?:index|local|grow|show|train|prune|doctor|scores|svd\/index|cli\/main)\.ts$/;
/** What computes in the thread that calls it: the command line's parses, prints and aborts, and has workers for this. */
const COMPUTES =
  /^src\/(?:open-local|device\/open-device|device\/wasm\/wasm-(?:train-)?device|(?:grow|merge|prune\/job)\/job|show\/pool\/pool|show\/place\/chains?|show\/answer\/answerer|evaluate\/run)\.ts$/;
/** Makes devices; everyone else asks it for one, so that another kind is added here alone. */
const OPENER = 'src/device/open-device.ts';
/** And a device that is more than another. */
const MAKERS = new Set([OPENER, 'src/device/wasm/wasm-train-device.ts']);
/** Where bundlers find the scripts of workers. */
const SCRIPTS = 'src/runtime/host/browser.ts';
/** Names of what is gone. A paper's own name for a rival stays: Drop-Upcycling. */
const GONE = /\bicl\b|(?<!Drop-)upcycl|\bAdapShot(?:Options|\.create)\b|src\/(?:spri|adapshot)\b/i;
// smollm2.test.ts reads a file of the shared folder, which has the old name for a key
const MAY_NAME_THEM =
  /^CHANGELOG\.md$|^scripts\/check-house\.mjs$|^test\/fixtures\/|^test\/model\/smollm2\.test\.ts$|^models\/|package-lock\.json$/;

// with files that are new, and without those that are gone, so that it can be asked before a commit
const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: ROOT,
  encoding: 'utf8',
  maxBuffer: 1 << 26,
});
const tracked = [...new Set(listed.trim().split('\n'))].filter((file) => existsSync(join(ROOT, file)));
const text = (file) => readFileSync(join(ROOT, file), 'utf8');
const faults = [];

function roomOf(file) {
  if (LOOSE[file]) return LOOSE[file];
  const [top, room] = file.split('/');
  return top === 'workers' ? 'workers' : room;
}

/** Files that each file imports, types and `import()` too. */
function graphOf(files) {
  const graph = new Map();
  for (const file of files) {
    const found = text(file).matchAll(/(?:\bfrom|\bimport\(|^import)\s*'(\.[^']+)'/gm);
    graph.set(
      file,
      [...found].map(([, to]) => normalize(join(dirname(file), to))),
    );
  }
  return graph;
}

/** Groups of files that reach each other (Tarjan 1972). */
function circlesOf(graph) {
  const order = new Map();
  const low = new Map();
  const stack = [];
  const open = new Set();
  const circles = [];
  const visit = (file) => {
    order.set(file, order.size);
    low.set(file, order.get(file));
    stack.push(file);
    open.add(file);
    for (const next of graph.get(file)) {
      if (!graph.has(next)) continue;
      if (!order.has(next)) visit(next);
      if (open.has(next)) low.set(file, Math.min(low.get(file), low.get(next)));
    }
    if (low.get(file) !== order.get(file)) return;
    const circle = stack.splice(stack.indexOf(file));
    for (const one of circle) open.delete(one);
    if (circle.length > 1) circles.push(circle);
  };
  for (const file of graph.keys()) if (!order.has(file)) visit(file);
  return circles;
}

const code = tracked.filter((file) => /^(src|workers)\/.*\.ts$/.test(file) && !file.endsWith('.d.ts'));
const graph = graphOf(code);
const level = new Map(ROOMS.flatMap((rooms, i) => rooms.map((room) => [room, i])));
const uses = new Map();
for (const [file, imports] of graph) {
  const from = roomOf(file);
  if (!level.has(from)) faults.push(`${file} stands in no room: name it in scripts/check-house.mjs`);
  for (const other of imports) {
    if (!graph.has(other)) {
      faults.push(`${file} imports ${other}, which stands in no room`);
      continue;
    }
    if (from === 'cli' && COMPUTES.test(other)) faults.push(`${file} imports ${other}, which computes in its thread`);
    const to = roomOf(other);
    if (to === from) continue;
    uses.set(from, (uses.get(from) ?? new Set()).add(to));
    if (!(level.get(to) > level.get(from))) faults.push(`${file} imports ${other}: ${to} does not stand below ${from}`);
  }
}
for (const file of code) {
  if (!MAKERS.has(file) && /^import (?!type\b)[^;]*\/wasm-(?:train-)?device\.ts'/m.test(text(file))) {
    faults.push(`${file} imports the class of a device: ${OPENER} opens one`);
  }
}
const imported = new Set([...graph.values()].flat());
for (const file of code) {
  if (!imported.has(file) && !BEGINNINGS.test(file))
    faults.push(`${file} is imported by nothing: is it missing in a registry?`);
}
const scripts = new Set([...text(SCRIPTS).matchAll(/'[./]+(workers\/\w+\.ts)'/g)].map(([, script]) => script));
const entries = new Set(code.filter((file) => file.startsWith('workers/')));
for (const script of scripts) if (!entries.has(script)) faults.push(`${SCRIPTS} names ${script}, which is not there`);
for (const script of entries) if (!scripts.has(script)) faults.push(`${SCRIPTS} does not name ${script}`);
// the map of the house says the same
const MAP = 'docs/architecture.md';
const line = ROOMS.map((rooms) => rooms.join(', ')).join(' → ');
if (!text(MAP).includes(`    ${line}\n`)) faults.push(`${MAP} does not have the line of rooms: ${line}`);
const folders = new Set(
  code.map((file) => file.split('/')).flatMap(([top, room, inner]) => (top === 'src' && inner ? [room] : [])),
);
for (const folder of folders) {
  if (!text(MAP).includes(`| \`src/${folder}/\``)) faults.push(`${MAP} has no row for src/${folder}/`);
}
// files that the pages for readers of the code name are there; capitals stand for any name
for (const page of [MAP, 'docs/contributing.md', 'workers/README.md']) {
  for (const [, name] of text(page).matchAll(/`([\w./-]+\.(?:ts|mjs|py|md))`/g)) {
    if (/[A-Z]{3,}/.test(name.replace('README', '')) || tracked.some((file) => `/${file}`.endsWith(`/${name}`)))
      continue;
    faults.push(`${page} names ${name}, which is not there`);
  }
}

for (const circle of circlesOf(graph)) faults.push(`a circle: ${circle.join(', ')}`);

for (const file of tracked.filter((name) => /\.(?:ts|mjs)$/.test(name) && !name.startsWith('test/fixtures/'))) {
  const lines = text(file).split('\n').length - 1;
  if (lines > MOST_LINES) faults.push(`${file} has ${lines} lines, over ${MOST_LINES}`);
}
for (const file of tracked.filter((name) => /\.(?:ts|mjs|js|md|json|py|html)$|^\.ci\/run$/.test(name))) {
  if (MAY_NAME_THEM.test(file)) continue;
  for (const [i, line] of text(file).split('\n').entries()) {
    if (GONE.test(line)) faults.push(`${file}:${i + 1} names what is gone: ${line.trim().slice(0, 100)}`);
  }
}

if (process.argv.includes('--list')) {
  for (const room of ROOMS.flat()) console.log(`${room.padEnd(11)}→ ${[...(uses.get(room) ?? [])].sort().join(', ')}`);
}
for (const fault of faults) console.log(fault);
console.log(
  faults.length === 0 ? `${code.length} files in ${level.size} rooms, as they should be` : `${faults.length} faults`,
);
process.exitCode = faults.length === 0 ? 0 : 1;
