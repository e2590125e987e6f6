import { diagnosisRows } from '../doctor/text.ts';
import { doctor } from '../engine/doctor/doctor.ts';
import { defineCommand } from './shared/command.ts';
import { jsonArgument } from './shared/common.ts';
import { Progress } from './shared/format.ts';
import { wrap } from './shared/help.ts';

export const doctorCommand = defineCommand({
  meta: { name: 'doctor', description: 'What this machine has for computing, how fast it is, and what auto chooses' },
  args: { json: jsonArgument },
  run: async ({ args, io, signal }) => {
    const bar = new Progress({ label: 'measuring', total: 1, silent: args.json });
    bar.update(0);
    const found = await doctor({ signal }).finally(() => bar.end());
    if (args.json) {
      io.out(`${JSON.stringify(found)}\n`);
      return;
    }
    const rows = diagnosisRows(found);
    const first = Math.max(...rows.map(([name]) => name.length)) + 2;
    const width = Math.max(40, Math.min(100, io.columns)) - 1;
    for (const [name, text] of rows) {
      const indent = ' '.repeat(first);
      const [head = '', ...more] = wrap(text, width, indent, indent);
      io.out(`${[name.padEnd(first) + head.trimStart(), ...more].join('\n')}\n`);
    }
  },
});
