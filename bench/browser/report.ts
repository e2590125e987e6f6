/** What the suite prints. */
import { goal, table } from '../harness.ts';
import type { Kind } from './contenders.ts';
import type { Figures, Rounds } from './rounds.ts';
import { longestTask, type Watched } from './tasks.ts';
import { PHASES, type RoundTrip } from './types.ts';

type Metric = 'prefill' | 'decode';

/** The rivals' versions; ours says what it chose at start. */
export function versionsOf(figures: readonly Figures[]): string[] {
  return [...new Set(figures.filter(({ kind }) => kind !== 'espalier').map(({ version }) => version))];
}

/** Of one kind the best figure, over its files. */
function bestOf(figures: readonly Figures[], kind: Kind, threads: number, metric: Metric): number | null {
  const all = figures.filter((f) => f.kind === kind && f.threads === threads).map((f) => f[metric].best);
  return all.length ? Math.max(...all) : null;
}

/** Ours divided by it, at the same thread count. */
function ratioTo(figures: readonly Figures[], { threads, ...it }: Figures, metric: Metric): string | number {
  const mine = bestOf(figures, 'espalier', threads, metric);
  return mine === null ? '-' : mine / it[metric].best;
}

export function speedText(
  { figures, idle }: Rounds,
  tokens: number,
  { decoded, rounds }: { decoded: number; rounds: number },
): string {
  if (!figures.length) return '';
  const head = ['engine', 'threads', 'prefill', 'median', 'ours / it', 'decode', 'median', 'ours / it', 'call, s'];
  const rows = figures.map((f) => [
    f.name,
    String(f.threads),
    f.prefill.best,
    f.prefill.median,
    ratioTo(figures, f, 'prefill'),
    f.decode.best,
    f.decode.median,
    ratioTo(figures, f, 'decode'),
    f.elapsed,
  ]);
  const lines = [
    `SmolLM2-135M: prefill of ${tokens} tokens and ${decoded} decoded after it, tokens/s, best of ${rounds}`,
    table(head, rows),
    `all engines open and none asked: ${idle.toFixed(2)} cores busy`,
    ...figures.filter(({ kind }) => kind === 'espalier').map((f) => `${f.name}, ${f.threads}: ${f.version}`),
    ...texts(figures),
  ];
  return lines.join('\n');
}

/** Whether the greedy texts are those of ours: a rival that ran another prompt would show here. */
function texts(figures: readonly Figures[]): string[] {
  const mine = figures.find(({ kind }) => kind === 'espalier');
  if (!mine) return [];
  const others = figures.filter((f) => f !== mine);
  if (!others.length) return [];
  const differing = others
    .map((f) => {
      const [theirs, ours, unit] = f.ids ? [f.ids, mine.ids!, 'tokens'] : [f.text!, mine.text!, 'characters'];
      const length = Math.min(theirs.length, ours.length);
      let same = 0;
      while (same < length && theirs[same] === ours[same]) same++;
      return same === length ? null : `${f.name}, ${f.threads}: the same for ${same} of ${length} ${unit}`;
    })
    .filter((line) => line !== null);
  return [`greedy text of ${others.length - differing.length} of ${others.length} others: as ours`, ...differing];
}

export function overheadText(
  trips: { node: RoundTrip; chromium: RoundTrip } | null,
  watched: readonly Watched[],
): string {
  const lines: string[] = [];
  if (trips) {
    const text = ({ best, median }: RoundTrip) => `${best.toFixed(0)} µs (median ${median.toFixed(0)})`;
    lines.push(`one call to the engine worker and back: Node ${text(trips.node)}, Chromium ${text(trips.chromium)}`);
  }
  if (watched.length) {
    const head = ['lanes', 'phase', 'tasks', 'longest ms', 'on processor', 'above 8 ms', 'worst gap of a 1 ms timer'];
    const rows = watched.flatMap(({ lanes, tasks, gaps }) =>
      PHASES.map((phase) => {
        const { count, longest, longestOnProcessor, above8 } = tasks[phase];
        return [String(lanes), phase, String(count), longest, longestOnProcessor, String(above8), gaps.worst[phase]];
      }),
    );
    lines.push(
      `${trips ? '\n' : ''}the page's own thread, the calmest of ${watched[0]!.passes} passes\n${table(head, rows)}`,
    );
    for (const { lanes, gaps } of watched) {
      const long = gaps.longTasks.map((ms) => ms.toFixed(0)).join(', ');
      lines.push(`long tasks (above 50 ms) with lanes = ${lanes}: ${long || 'none'}`);
    }
  }
  return lines.join('\n');
}

export function goals(figures: readonly Figures[], watched: readonly Watched[]): string[] {
  const lines: string[] = [];
  const against = (kind: Kind, name: string, threads: number, metric: Metric, wanted: number): void => {
    const [mine, theirs] = [bestOf(figures, 'espalier', threads, metric), bestOf(figures, kind, threads, metric)];
    if (mine !== null && theirs !== null) {
      lines.push(goal(`${metric} against ${name}, threads = ${threads}`, mine / theirs, wanted));
    }
  };
  for (const threads of new Set(figures.map((f) => f.threads))) {
    against('wllama', "wllama's better file", threads, 'decode', 5);
    against('wllama', "wllama's better file", threads, 'prefill', 10);
    against('ort-web', 'ort-web', threads, 'decode', 4);
    against('ort-web', 'ort-web', threads, 'prefill', 3.5);
  }
  against('llama.cpp', 'native llama.cpp', 2, 'prefill', 2);
  against('llama.cpp', 'native llama.cpp', 2, 'decode', 0.9);
  for (const each of watched) {
    const { lanes } = each;
    const longest = longestTask(each);
    const state = longest <= 8 ? 'met   ' : 'MISSED';
    lines.push(`${state}  longest task of the page, lanes = ${lanes}: ${longest.toFixed(2)} ms (goal at most 8.00)`);
  }
  return lines;
}
