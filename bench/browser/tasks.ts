/**
 * How long the page's thread is away while a model loads and generates. The browser's own record of every task decides: the
 * long-task observer sees nothing below 50 ms, and a timer also waits for whatever else the machine does.
 */
import type { Chromium, TraceEvent } from './chromium.ts';
import { type Gaps, PHASES, type Phase, type Prompt } from './types.ts';

/** Of the tasks of one phase; milliseconds. */
export interface Tasks {
  readonly count: number;
  readonly longest: number;
  /** The most that one of them computed: less than `longest` where it waited for a processor. */
  readonly longestOnProcessor: number;
  /** How many took more than 8 ms. */
  readonly above8: number;
}

export interface Watched {
  readonly lanes: number;
  /** Of so many this is the one whose longest task was the shortest: the machine holds tasks up, it does not hurry them. */
  readonly passes: number;
  readonly tasks: Readonly<Record<Phase, Tasks>>;
  readonly gaps: Gaps;
}

export async function watchMainThread(
  chromium: Chromium,
  origin: string,
  lanes: number,
  prompt: Prompt,
  decoded: number,
  passes: number,
): Promise<Watched> {
  const all: Omit<Watched, 'passes'>[] = [];
  for (let i = 0; i < passes; i++) all.push(await watchOnce(chromium, origin, lanes, prompt, decoded));
  const [calmest] = all.sort((a, b) => longestTask(a) - longestTask(b));
  return { ...calmest!, passes };
}

/** Milliseconds, from the start of loading on. */
export function longestTask({ tasks }: Pick<Watched, 'tasks'>): number {
  return Math.max(tasks.load.longest, tasks.generation.longest);
}

async function watchOnce(
  chromium: Chromium,
  origin: string,
  lanes: number,
  prompt: Prompt,
  decoded: number,
): Promise<Omit<Watched, 'passes'>> {
  const page = await chromium.open(origin);
  try {
    const work = () => page.call('watch', '/files/q4_1.gguf', lanes, prompt, decoded);
    const { value, events } = await chromium.trace(page, work);
    return { lanes, tasks: tasksOf(events), gaps: value };
  } finally {
    await page.close();
  }
}

function tasksOf(events: readonly TraceEvent[]): Record<Phase, Tasks> {
  const markOf = (name: string): TraceEvent => {
    const mark = events.find((event) => event.name === `bench ${name}`);
    if (!mark) throw new Error(`the trace has no mark "${name}"`);
    return mark;
  };
  const { pid, tid } = markOf('idle');
  const all = events.filter((event) => event.name === 'RunTask' && event.pid === pid && event.tid === tid);
  if (all.length === 0) throw new Error('the trace has no tasks of the page');
  const names = [...PHASES, 'end'];
  const phases = PHASES.map((phase, i) => {
    const [from, to] = [markOf(phase).ts, markOf(names[i + 1]!).ts];
    // a task that spans the start of a phase is of that phase: it is what the mark was made in
    const within = all.filter(({ ts, dur = 0 }) => ts + dur > from && ts + dur <= to);
    const most = (time: (task: TraceEvent) => number) => within.reduce((top, task) => Math.max(top, time(task)), 0);
    const tasks: Tasks = {
      count: within.length,
      longest: most(({ dur = 0 }) => dur) / 1000,
      longestOnProcessor: most(({ tdur = 0 }) => tdur) / 1000,
      above8: within.filter(({ dur = 0 }) => dur > 8000).length,
    };
    return [phase, tasks] as const;
  });
  return Object.fromEntries(phases) as Record<Phase, Tasks>;
}
