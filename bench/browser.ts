/**
 * SmolLM2 in Chromium, against what else runs there and against native llama.cpp, alternately, best of N rounds after a warm-up:
 * Espalier through its public API, wllama on the Q4_1 file and on a Q8_0 one made from it (the better counts, for prefill and decode
 * each), onnxruntime-web on the f32 ONNX file, and llama-cpp-python beside the browser. Every engine has a page, so a process, of
 * its own. Each is timed by the clock nearest to its work: the timings of a generation's result, those of wllama's server, those
 * around `session.run` and `llama_decode`. Decoding counts passes through the model after the first token.
 *
 * Needs `npm ci --prefix test/runtimes` and Chromium; the rivals `npm ci --prefix bench/peers`, ESPALIER_ONNX (the ONNX file),
 * ESPALIER_PYTHON (a python with llama-cpp-python, gguf and numpy) and, to keep the Q8_0 file somewhere, ESPALIER_Q8_0. What is
 * missing is said and left out.
 *
 * Also: one call to the engine worker and back, in Node and in Chromium, and the longest task of the page's thread while a model
 * is downloaded, loaded and run.
 */
import { Chromium } from './browser/chromium.ts';
import { contenders, KINDS, type Setting } from './browser/contenders.ts';
import { exists, type Found, onnxFile, packageMissing, q8File } from './browser/files.ts';
import { promptOf } from './browser/prompt.ts';
import { goals, overheadText, speedText, versionsOf } from './browser/report.ts';
import { roundTrip } from './browser/round-trip.ts';
import { type Rounds, runRounds } from './browser/rounds.ts';
import { type BenchServer, startServer } from './browser/server.ts';
import { type Watched, watchMainThread } from './browser/tasks.ts';
import type { RoundTrip } from './browser/types.ts';
import { header, machine } from './harness.ts';
import { version } from './ours.ts';
import { GOLDEN, SMOLLM2 } from './smollm2.ts';
import { type Context, numbers, type Suite } from './suite.ts';

const PARTS = [...KINDS, 'trip', 'tasks'];

interface Options {
  readonly only: ReadonlySet<string>;
  readonly model: string;
  readonly tokens: number;
  readonly decoded: number;
  readonly rounds: number;
  readonly threads: readonly number[];
}

function optionsOf(context: Context): Options {
  const { flags } = context;
  const [tokens = 512] = numbers(context, 'tokens', [512]);
  const [decoded = 32] = numbers(context, 'decode', [32]);
  const [rounds = 3] = numbers(context, 'rounds', [3]);
  const only = new Set(typeof flags['only'] === 'string' ? flags['only'].split(',') : PARTS);
  for (const part of only) {
    if (!PARTS.includes(part)) throw new Error(`--only takes some of ${PARTS.join(', ')}, not "${part}".`);
  }
  const model = typeof flags['model'] === 'string' ? flags['model'] : SMOLLM2;
  return { only, model, tokens, decoded, rounds, threads: numbers(context, 'threads', [1, 2]) };
}

/** The files that the pages read, by the names that contenders.ts knows, and what is left out. */
async function filesOf({ only, model }: Options, named: unknown) {
  const files: Record<string, string> = { 'q4_1.gguf': model };
  const leftOut: string[] = [];
  const take = (name: string, found: Found): void => {
    if ('path' in found) files[name] = found.path;
    else leftOut.push(found.missing);
  };
  const packages = [
    ['wllama', '@wllama/wllama'],
    ['ort-web', 'onnxruntime-web'],
  ] as const;
  const absent = new Set<string>();
  for (const [kind, name] of packages) {
    const why = only.has(kind) ? await packageMissing(name) : null;
    if (!why) continue;
    absent.add(kind);
    leftOut.push(why);
  }
  const rivals = new Set([...only].filter((kind) => !absent.has(kind)));
  if (rivals.has('wllama')) {
    take('q8_0.gguf', await q8File(model, typeof named === 'string' ? named : process.env['ESPALIER_Q8_0']));
  }
  if (rivals.has('ort-web')) take('f32.onnx', await onnxFile());
  return { files, leftOut, rivals };
}

async function measure(context: Context, options: Options, chromium: Chromium) {
  const { only, model, tokens, decoded, threads } = options;
  const { files, leftOut, rivals } = await filesOf(options, context.flags['q8_0']);
  const prompt = await promptOf(model, GOLDEN, tokens);
  const server: BenchServer = await startServer(files);
  try {
    const { origin } = server;
    let trips: { node: RoundTrip; chromium: RoundTrip } | null = null;
    if (only.has('trip')) {
      const page = await chromium.open(origin);
      trips = { node: await roundTrip(), chromium: await page.call('roundTrip') };
      await page.close();
    }
    const watched: Watched[] = [];
    for (const lanes of only.has('tasks') ? threads : []) {
      watched.push(await watchMainThread(chromium, origin, lanes, prompt, decoded, options.rounds));
    }
    const room = prompt.ids.length + decoded + 8;
    const setting: Setting = {
      chromium,
      origin,
      files: new Set(Object.keys(files)),
      path: model,
      context: Math.max(1024, room),
    };
    const { list, leftOut: absent } = await contenders(setting, threads, rivals);
    const speed: Rounds = await runRounds(
      list,
      chromium,
      prompt,
      (length) => promptOf(model, GOLDEN, length),
      options,
      (what) => context.flags['json'] || process.stderr.write(`  ${what}\n`),
    );
    leftOut.push(...absent, ...speed.failed);
    return { tokens: prompt.ids.length, trips, watched, speed, leftOut };
  } finally {
    await server.close();
  }
}

const suite: Suite = {
  about:
    'SmolLM2 in Chromium against wllama, onnxruntime-web, native llama.cpp  (--rounds 3 --tokens 512 --decode 32 --threads 1,2 --only espalier,…)',
  async run(context) {
    const { print } = context;
    const options = optionsOf(context);
    const skip = (reason: string) => {
      print(`left out: ${reason}`);
      return { skipped: reason };
    };
    if (!(await exists(options.model))) return skip(`${options.model} is not there (--model FILE.gguf)`);
    let chromium: Chromium;
    try {
      chromium = await Chromium.launch();
    } catch (error) {
      return skip((error as Error).message.split('\n')[0]!);
    }
    try {
      const { tokens, trips, watched, speed, leftOut } = await measure(context, options, chromium);
      const info = machine([version, chromium.version, ...versionsOf(speed.figures)]);
      print(header(info));
      for (const reason of leftOut) print(`left out: ${reason}`);
      const lines = goals(speed.figures, watched);
      const texts = [speedText(speed, tokens, options), overheadText(trips, watched), lines.join('\n')];
      for (const text of texts) if (text) print(`\n${text}`);
      const { decoded, rounds } = options;
      return { machine: info, tokens, decoded, rounds, ...speed, trips, watched, leftOut, goals: lines };
    } finally {
      await chromium.close();
    }
  },
};
export default suite;
