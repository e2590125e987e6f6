/** Some steps in a process of their own, and the most memory that it held: `train.ts` starts it with what to train, as JSON. */
import { openTraining, sequences, type TrainingOptions } from './train-work.ts';

const { path, count, length, steps, ...options } = JSON.parse(process.argv[2]!) as TrainingOptions & {
  readonly path: string;
  readonly count: number;
  readonly length: number;
  readonly steps: number;
};
const training = await openTraining(path, options);
const ids = sequences(count, length, 8000);
for (let i = 0; i < steps; i++) await training.step(ids);
console.log(JSON.stringify({ process: process.resourceUsage().maxRSS * 1024, device: training.peak() }));
training.dispose();
