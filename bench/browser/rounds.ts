/**
 * Rounds over engines that are all open, each in a process of its own, forwards and backwards in turn (as in ../harness.ts). They
 * may all stay open because none of them computes while it is not asked: what the browser uses then is measured and told.
 */
import { median } from '../harness.ts';
import type { Chromium } from './chromium.ts';
import type { Contender, Kind, Opened } from './contenders.ts';
import type { Prompt, Run } from './types.ts';

/** Idle threads of llama.cpp and onnxruntime spin for some milliseconds before they sleep. */
const REST = 250;
const WARM = { tokens: 64, decoded: 8 };

export interface Rate {
  /** Tokens a second. */
  readonly best: number;
  readonly median: number;
  /** Every round, in order. */
  readonly seconds: readonly number[];
}

export interface Figures {
  readonly kind: Kind;
  readonly name: string;
  readonly threads: number;
  readonly version: string;
  readonly prefill: Rate;
  readonly decode: Rate;
  /** What the page waited for the whole call in the fastest round, in seconds. */
  readonly elapsed: number;
  /** What came out in the last round. */
  readonly ids: readonly number[] | null;
  readonly text: string | null;
}

export interface Rounds {
  readonly figures: Figures[];
  /** Cores that the browser kept busy with all engines open and none asked. */
  readonly idle: number;
  readonly failed: string[];
}

interface Entry {
  readonly contender: Contender;
  readonly opened: Opened;
  readonly runs: Run[];
}

/** @param onStep told what is done, for the impatient */
export async function runRounds(
  list: readonly Contender[],
  chromium: Chromium,
  prompt: Prompt,
  warm: (tokens: number) => Promise<Prompt>,
  { decoded, rounds }: { decoded: number; rounds: number },
  onStep: (what: string) => void,
): Promise<Rounds> {
  const entries: Entry[] = [];
  const failed: string[] = [];
  try {
    const short = await warm(Math.min(WARM.tokens, prompt.ids.length));
    for (const contender of list) {
      const title = `${contender.name}, ${contender.threads}`;
      onStep(`opening ${title}`);
      try {
        const opened = await contender.open();
        entries.push({ contender, opened, runs: [] });
        await opened.run(short, Math.min(WARM.decoded, decoded));
      } catch (error) {
        failed.push(`${title}: ${(error as Error).message.split('\n')[0]}`);
        if (entries.at(-1)?.contender === contender) await entries.pop()!.opened.close();
      }
    }
    const broken = new Set<Entry>();
    await rest(1000);
    const idle = entries.length ? await chromium.busy(1000) : 0;
    for (let round = 0; round < rounds; round++) {
      const order = round % 2 ? [...entries].reverse() : entries;
      for (const entry of order) {
        if (broken.has(entry)) continue;
        const title = `${entry.contender.name}, ${entry.contender.threads}`;
        onStep(`round ${round + 1} of ${rounds}, ${title}`);
        await rest(REST);
        try {
          entry.runs.push(await entry.opened.run(prompt, decoded));
        } catch (error) {
          broken.add(entry);
          failed.push(`${title}: ${(error as Error).message.split('\n')[0]}`);
        }
      }
    }
    const whole = entries.filter((entry) => !broken.has(entry));
    return { figures: whole.map((entry) => figures(entry, prompt.ids.length, decoded)), idle, failed };
  } finally {
    for (const { opened } of entries) await opened.close();
  }
}

function figures({ contender, opened, runs }: Entry, tokens: number, decoded: number): Figures {
  const last = runs.at(-1)!;
  const rate = (units: number, seconds: number[]): Rate => ({
    best: units / Math.min(...seconds),
    median: units / median(seconds),
    seconds,
  });
  return {
    kind: contender.kind,
    name: contender.name,
    threads: contender.threads,
    version: opened.version,
    prefill: rate(
      tokens,
      runs.map((run) => run.prefill),
    ),
    decode: rate(
      decoded,
      runs.map((run) => run.decode),
    ),
    elapsed: Math.min(...runs.map((run) => run.elapsed)),
    ids: last.ids,
    text: last.text,
  };
}

function rest(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
