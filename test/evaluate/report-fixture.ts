import { splitExamples } from '../../src/datasets/splits.ts';
import { parseArms } from '../../src/evaluate/arms.ts';
import type { Evaluation } from '../../src/evaluate/page/evaluation.ts';
import type { ItemResult } from '../../src/evaluate/types.ts';

/** What a page and a terminal would act on. */
export const EVIL = '<img src=x onerror=alert(1)>"\'&</script><b>x |`[a](b)\u001b[31m';

/** Twelve items: of these `label` has 0 to 8 right, `vote:4` 4 to 11, `zero-shot` none. @param mark stands in every input and label */
export function evaluationOf(more: Partial<Evaluation> = {}, mark = ''): Evaluation {
  const [cat, dog] = [`cat${mark}`, `dog${mark}`];
  const train = Array.from({ length: 40 }, (_, i) => ({
    input: `animal ${i} ${mark}`,
    output: i % 2 === 0 ? cat : dog,
  }));
  const options = { arms: parseArms('zero-shot,vote:4,label'), pool: 20, test: 12 };
  const items = splitExamples({ train }, { pool: 20, test: 12 }).test;
  const records = items.flatMap(({ output: truth }, item): ItemResult[] => {
    const other = truth === cat ? dog : cat;
    const result = (arm: string, right: boolean, shots: number, milliseconds: number): ItemResult => ({
      arm,
      seed: 0,
      item,
      truth,
      label: right ? truth : other,
      shots,
      milliseconds,
      firstMilliseconds: milliseconds,
      forwarded: 10,
      reused: 0,
      top: [
        { label: right ? truth : other, probability: 0.75 },
        { label: right ? other : truth, probability: 0.25 },
      ],
      entropy: 0.5623,
      shown: Array.from({ length: shots }, (_, i) => String(i).padStart(2, '0')),
    });
    const right = item <= 8;
    const own = result('label', right, right ? 2 : 4, 80);
    const label = own.label;
    const tried = [
      { shots: 2, entropy: right ? 0.1 : 0.5, label },
      ...(right ? [] : [{ shots: 4, entropy: 0.6, label }]),
    ];
    return [
      result('zero-shot', false, 0, 50),
      result('vote:4', item >= 4, 4, 0.5),
      { ...own, tried, threshold: 0.3, probes: tried.length, fallback: !right },
    ];
  });
  const task = { kind: 'labels', labels: [cat, dog], train } as const;
  return { model: 'nano', data: 'animals', options, records, task, ...more };
}
