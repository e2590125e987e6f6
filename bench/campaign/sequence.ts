/** Requests one behind the other, what each leaves of those before, and taking them back. */
import type { TofuSet } from '../../src/evaluate/unlearning/tofu-data.ts';
import { rollback } from '../../src/prune/adapter/rollback.ts';
import { prune } from '../../src/prune/job/job.ts';
import { PRUNE_FILE } from '../../src/prune/write/receipt.ts';
import { memoryOutput } from '../../src/runtime/output/memory.ts';
import { deviceFor, measured, type Snapshot } from '../unlearn-measure.ts';
import { FORM } from '../unlearn-work.ts';
import { bytesOf, linesOf, measuringOf, plain } from './data.ts';
import type { Found, PartFigures } from './results.ts';
import { GIVEN, type Split } from './runs.ts';
import { baseOf, modelOf, referenceOf, retainOf, type Setting } from './setting.ts';

type Files = Record<string, Blob>;

/** From 1 to 10 %: each holds those before it. */
const REQUESTS: readonly Split[] = ['forget01', 'forget05', 'forget10'];
/** Of each part where only a few examples are taken. */
const FEW = 4;

const questionOf = (line: string): string => (JSON.parse(line) as { question: string }).question;

/** What each request asks for beyond those before it. */
async function partsOf(setting: Setting): Promise<{ readonly name: Split; readonly lines: readonly string[] }[]> {
  const seen = new Set<string>();
  const parts = [];
  for (const name of REQUESTS) {
    const all = (await linesOf({ ...setting, quick: false }, name)).filter((line) => !seen.has(questionOf(line)));
    for (const line of all) seen.add(questionOf(line));
    parts.push({ name, lines: setting.quick ? all.slice(0, FEW) : all });
  }
  return parts;
}

/** The three requests, as jobs by default; all look at the model that never learned any of them. */
export async function sequence(setting: Setting, seed: number): Promise<Found['sequence']> {
  const { device: kind, lanes, quick } = setting;
  const model = modelOf(setting);
  const parts = await partsOf(setting);
  const { forgotten, retain } = await measuringOf({ ...setting, quick: false }, GIVEN);
  const sets = parts.map(({ name, lines }): TofuSet => {
    const asked = new Set(lines.map(questionOf));
    return { ...forgotten, name, rows: forgotten.rows.filter(({ question }) => asked.has(question)) };
  });
  const kept = plain(quick ? { ...retain, rows: retain.rows.slice(0, FEW) } : retain);
  const states: Record<string, Record<string, PartFigures>> = {};
  const keeps: Record<string, number> = {};
  const device = await deviceFor(model, setting);
  const look = async (state: string, snapshot: Snapshot): Promise<void> => {
    const found = await measured(device, snapshot, [...sets, kept], { rouge: false });
    states[state] = Object.fromEntries(
      sets.map(({ name }) => {
        const { probability, truthRatioScore } = found[name]!;
        return [name, { probability, truthRatio: truthRatioScore! }];
      }),
    );
    keeps[state] = found[kept.name]!.probability;
  };
  const withFiles = (from: Files): Snapshot => ({ target: model, adapters: [{ from }] });
  try {
    await look('none', { target: model, adapters: [] });
    const made: Files[] = [];
    const seconds: number[] = [];
    for (const [i, { name, lines }] of parts.entries()) {
      const began = performance.now();
      const out = memoryOutput(name);
      const retained = await linesOf(setting, retainOf(name));
      await prune(model, {
        ...FORM,
        ...{ forget: bytesOf(lines), retain: bytesOf(retained), base: baseOf(setting), request: name, seed },
        ...{ reference: referenceOf(setting, GIVEN), out, device: kind, lanes, saveEvery: 0 },
        ...(i > 0 && { earlier: made[i - 1]! }),
        ...(quick && { epochs: 1, gateSteps: 5, measured: 4, looks: 1, ...(i === 0 && { structureSteps: 2 }) }),
      });
      seconds.push((performance.now() - began) / 1000);
      made.push(adapterOf(out.result()));
      await look(REQUESTS.slice(0, i + 1).join('+'), withFiles(made[i]!));
    }
    const back = async (from: Files, request: Split): Promise<Files> => {
      const out = memoryOutput('back');
      await rollback(model, { adapter: from, request, out });
      return adapterOf(out.result());
    };
    const exact: boolean[] = [];
    for (let i = made.length - 1; i > 0; i--) {
      exact.push(await isSame(await back(made[i]!, REQUESTS[i]!), made[i - 1]!));
    }
    // from between: what stands behind it stays
    await look('forget01+forget10', withFiles(await back(made[2]!, 'forget05')));
    return { states, retain: keeps, exact, seconds };
  } finally {
    device.close();
  }
}

/** Without the receipt, which holds times. */
function adapterOf(files: Files): Files {
  return Object.fromEntries(Object.entries(files).filter(([name]) => name !== PRUNE_FILE));
}

async function isSame(a: Files, b: Files): Promise<boolean> {
  const names = Object.keys(a).sort();
  if (names.join() !== Object.keys(b).sort().join()) return false;
  for (const name of names) {
    const [one, other] = await Promise.all([a, b].map(async (own) => new Uint8Array(await own[name]!.arrayBuffer())));
    if (Buffer.compare(one!, other!) !== 0) return false;
  }
  return true;
}
