import { header, machine, table } from '../harness.ts';
import type { Suite } from '../suite.ts';
import { measurePeak } from './probe.ts';

const suite: Suite = {
  about: 'ceilings of one core in this engine: 128-bit multiply-add and plain read',
  async run({ print }) {
    const peak = await measurePeak();
    print(`${header(machine())}\n`);
    print(
      table(
        ['ceiling', 'value', 'unit'],
        [
          ['fused multiply-add, 128 bit', peak.fused === null ? 'no relaxed SIMD' : peak.fused.toFixed(1), 'GFLOP/s'],
          ['multiply, then add, 128 bit', peak.mulAdd.toFixed(1), 'GFLOP/s'],
          ['read of 100 MB', peak.read.toFixed(1), 'GB/s'],
        ],
      ),
    );
    return { machine: machine(), peak };
  },
};
export default suite;
