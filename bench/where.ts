/** Where a token's time goes: kernels, waiting for lanes, writing commands, and JavaScript between them, for each number of lanes. */
import type { CommandTimes } from '../src/device/wasm/calls.ts';
import { WasmDevice } from '../src/device/wasm/wasm-device.ts';
import { openLocal } from '../src/open-local.ts';
import { exists } from './browser/files.ts';
import { header, machine } from './harness.ts';
import { version } from './ours.ts';
import { promptIds, SMOLLM2 } from './smollm2.ts';
import { type Context, numbers, type Suite } from './suite.ts';

/** Of all commands of one kind. */
interface Row {
  calls: number;
  parts: number;
  own: number;
  waiting: number;
  writing: number;
}

interface Profile {
  readonly lanes: number;
  readonly what: string;
  readonly tokens: number;
  /** Milliseconds of the fastest run, watched and not. */
  readonly milliseconds: number;
  readonly unwatched: number;
  readonly rows: Readonly<Record<string, Row>>;
  /** Milliseconds outside of commands: JavaScript, and kernels that this thread calls by itself. */
  readonly between: number;
  /** Commands that found lanes asleep. */
  readonly woken: number;
}

/** The fastest of some runs. @param before a run, not timed */
async function profiled(
  device: WasmDevice,
  what: string,
  tokens: number,
  rounds: number,
  run: () => Promise<void>,
  before: () => Promise<void>,
): Promise<Profile> {
  const { lanes } = device.parts();
  let best: Profile | null = null;
  let unwatched = Number.POSITIVE_INFINITY;
  for (let round = 0; round <= 2 * rounds; round++) {
    const rows: Record<string, Row> = {};
    let [within, woken] = [0, 0];
    const watch = ({ kernels, parts, own, waiting, writing, slept }: CommandTimes) => {
      const name = [...new Set(kernels)].join('+') + (parts === 1 ? ' (alone)' : '');
      const row = (rows[name] ??= { calls: 0, parts: 0, own: 0, waiting: 0, writing: 0 });
      row.calls++;
      row.parts += parts;
      row.own += own;
      row.waiting += waiting;
      row.writing += writing;
      within += own + waiting + writing;
      if (slept > 0) woken++;
    };
    await before();
    const watched = round % 2 === 1;
    lanes.watch = watched ? watch : null;
    const start = performance.now();
    await run();
    const milliseconds = performance.now() - start;
    lanes.watch = null;
    if (!watched) {
      if (round > 0) unwatched = Math.min(unwatched, milliseconds);
    } else if (best === null || milliseconds < best.milliseconds) {
      const between = milliseconds - within;
      best = { lanes: device.lanes, what, tokens, milliseconds, unwatched, rows, between, woken };
    }
  }
  return { ...best!, unwatched };
}

function table({ what, lanes, tokens, milliseconds, unwatched, rows, between, woken }: Profile): string {
  const per = (value: number) => ((1000 * value) / tokens).toFixed(1).padStart(9);
  const list = Object.entries(rows).sort(([, a], [, b]) => b.own + b.waiting - (a.own + a.waiting));
  const lines = list.map(([name, row]) => {
    const count = (row.calls / tokens).toFixed(2).padStart(8);
    const columns = [row.own, row.waiting, row.writing].map(per).join('');
    return `  ${name.slice(0, 38).padEnd(38)}${count}${(row.parts / row.calls).toFixed(0).padStart(6)}${columns}`;
  });
  const rate = ((1000 * tokens) / unwatched).toFixed(0);
  return [
    `${what}, ${lanes} ${lanes === 1 ? 'lane' : 'lanes'}: ${rate} tokens/s (${per(milliseconds).trim()} µs a token watched, ${per(unwatched).trim()} not)`,
    `  ${'µs a token'.padEnd(38)}${'commands'.padStart(8)}${'parts'.padStart(6)}${['own', 'waiting', 'writing'].map((name) => name.padStart(9)).join('')}`,
    ...lines,
    `  ${'between commands'.padEnd(52)}${per(between)}`,
    ...(woken > 0 ? [`  ${woken} commands found lanes asleep`] : []),
    '',
  ].join('\n');
}

async function ofLanes(context: Context, count: number): Promise<Profile[]> {
  const [tokens = 512] = numbers(context, 'tokens', [512]);
  const [decoded = 64] = numbers(context, 'decode', [64]);
  const [rounds = 5] = numbers(context, 'rounds', [5]);
  const [batch = 8] = numbers(context, 'batch', [8]);
  const device = await WasmDevice.create({ lanes: count });
  const path = context.flags['model'] ?? SMOLLM2;
  const model = await openLocal(String(path), { device });
  const ids = await promptIds(tokens);
  const { decoder } = model;
  const found: Profile[] = [];
  const cache = decoder.cache();
  const read = async () => {
    cache.truncate(0);
    await decoder.forward(ids, cache, { output: 'last', onChunk: async (hidden) => void decoder.logits(hidden) });
  };
  found.push(await profiled(device, `prompt of ${tokens}`, tokens, rounds, read, async () => {}));
  const write = async () => {
    for (let i = 0; i < decoded; i++) {
      await decoder.forward([ids[i]!], cache, { onChunk: async (hidden) => void decoder.logits(hidden) });
    }
  };
  found.push(await profiled(device, `decoding behind ${tokens}`, decoded, rounds, write, read));
  cache.dispose();
  const prompts = Array.from({ length: batch }, (_, i) => ids.slice(i, i + 32));
  const options = { maxTokens: decoded, temperature: 0, stopAtEos: false, batch } as const;
  const each = async () => void (await model.generateBatch(prompts, options).results());
  found.push(
    await profiled(device, `${batch} texts at once`, decoded * batch, Math.min(rounds, 2), each, async () => {}),
  );
  model.close();
  device.close();
  return found;
}

const suite: Suite = {
  about:
    'where a token’s time goes, for each number of lanes  (--lanes 1,2 --tokens 512 --decode 64 --batch 8 --rounds 5 --model FILE)',
  async run(context) {
    const { print } = context;
    if (!context.flags['model'] && !(await exists(SMOLLM2))) {
      print(`left out: ${SMOLLM2} is not there`);
      return null;
    }
    print(header(machine([version])));
    const profiles: Profile[] = [];
    for (const lanes of numbers(context, 'lanes', [1, 2])) {
      const some = await ofLanes(context, lanes);
      for (const one of some) print(table(one));
      profiles.push(...some);
    }
    return profiles;
  },
};
export default suite;
