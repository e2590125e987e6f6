/** One job of `bench -- grow` in a process of its own, so that its memory can be told: MODEL OUT LANES VERIFY. */
import { grow } from '../src/grow.ts';

const [model, out, lanes, verify] = process.argv.slice(2);
const started = performance.now();
const receipt = await grow(model!, {
  out: out!,
  target: 'granitemoeshared',
  experts: 8,
  topK: 2,
  lanes: Number(lanes),
  verify: verify === 'yes',
});
const seconds = (performance.now() - started) / 1000;
const bytes = receipt.files.reduce((sum, file) => sum + file.bytes, 0);
console.log(
  JSON.stringify({ seconds, bytes, peak_rss: process.resourceUsage().maxRSS * 1024, deviation: receipt.deviation }),
);
