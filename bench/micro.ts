/** Small operations through the `benchmark` package: means with their error. */
import Benchmark from 'benchmark';
import { header, machine, table } from './harness.ts';
import * as ours from './ours.ts';
import type { Suite } from './suite.ts';

interface Row {
  name: string;
  microseconds: number;
  /** Relative margin of error, per cent. */
  rme: number;
}

function measure(cases: readonly ours.MicroCase[]): Promise<Row[]> {
  return new Promise((resolve, reject) => {
    const rows: Row[] = [];
    const suite = new Benchmark.Suite();
    for (const { name, run } of cases) suite.add(name, run);
    suite.on('cycle', (event: Benchmark.Event) => {
      const { name = '', stats, error } = event.target as unknown as Benchmark;
      if (!error) rows.push({ name, microseconds: stats.mean * 1e6, rme: stats.rme });
    });
    // a case that throws does not stop the suite and would go unseen
    suite.on('error', (event: Benchmark.Event) => reject((event.target as unknown as Benchmark).error));
    suite.on('complete', () => resolve(rows));
    suite.run({ async: true });
  });
}

const suite: Suite = {
  about: 'small operations, microseconds a call',
  async run({ print }) {
    const info = machine([ours.version, `benchmark ${Benchmark.version}`]);
    const rows = await measure(await ours.micro());
    print(`${header(info)}\n`);
    print(
      table(
        ['operation', 'µs', '± %'],
        rows.map((row) => [row.name, row.microseconds, row.rme]),
      ),
    );
    return { machine: info, results: rows };
  },
};
export default suite;
