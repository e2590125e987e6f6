/** Loads a model from its address and generates, watching the page's own thread from within it. */
import { open } from '../../src/index.ts';
import { type Gaps, PHASES, type Phase, type Prompt } from './types.ts';

/** Timers nested in timers wait 4 ms at least; these do not. */
declare const scheduler: { postTask(run: () => void, options: { delay: number }): Promise<unknown> };

/** Marks the start of each phase in the trace, and its end. */
const mark = (name: Phase | 'end') => performance.mark(`bench ${name}`);

export async function watch(file: string, lanes: number, { ids }: Prompt, decoded: number): Promise<Gaps> {
  const longTasks: number[] = [];
  const observer = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) longTasks.push(duration);
  });
  observer.observe({ type: 'longtask' });

  const worst = Object.fromEntries(PHASES.map((phase) => [phase, 0])) as Record<Phase, number>;
  let now: Phase | null = 'idle';
  let last = performance.now();
  const turn = (): void => {
    const time = performance.now();
    if (now) {
      worst[now] = Math.max(worst[now], time - last);
      void scheduler.postTask(turn, { delay: 1 });
    }
    last = time;
  };
  const enter = (phase: Phase): void => {
    now = phase;
    last = performance.now();
    mark(phase);
  };

  enter('idle');
  turn();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  enter('load');
  const model = await open(new URL(file, location.href), { lanes });
  enter('generation');
  for await (const _ of model.generate(ids, { maxTokens: decoded + 1, temperature: 0, stopAtEos: false }));
  mark('end');
  now = null;
  await new Promise((resolve) => setTimeout(resolve, 100)); // the observer is told later
  observer.disconnect();
  await model.close();
  return { worst, longTasks };
}
