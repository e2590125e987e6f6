import { test } from 'uvu';
import { attack, generator, printTally, withConfig } from './attack.ts';
import { gguf, json, tinyConfig, tinyGgufSpec, tinySafetensors } from './build.ts';

test('random damage to headers', async () => {
  const random = generator(3);
  const at = (end: number) => Math.floor(random() * end);
  const st = tinySafetensors();
  const stHeader = 8 + Number(new DataView(st.buffer).getBigUint64(0, true));
  const gg = gguf(tinyGgufSpec());
  const ggHeader = 1300;
  for (let i = 0; i < 600; i++) {
    const [base, end] = i % 2 ? [st, stHeader] : [gg, ggHeader];
    const file = base.slice();
    for (let n = 1 + at(4); n > 0; n--) {
      const where = at(end);
      if (random() < 0.5) file[where]! ^= 1 << at(8);
      else file[where] = random() < 0.3 ? 255 : at(256);
    }
    await attack(`damage ${i}`, i % 2 ? withConfig(file) : { 'x.gguf': file }, 'any');
  }
  for (let i = 0; i < 100; i++) {
    const file = json(tinyConfig);
    for (let n = 1 + at(3); n > 0; n--) file[at(file.length)] = 32 + at(95);
    await attack(`damaged configuration ${i}`, { ...withConfig(st), 'config.json': file }, 'any');
  }
  for (let i = 0; i < 100; i++) {
    const noise = Uint8Array.from({ length: at(3000) }, () => at(256));
    if (i % 2) noise.set(gg.subarray(0, Math.min(noise.length, 24 + at(200))));
    await attack(`noise ${i}`, { 'x.gguf': noise }, 'any');
  }
});

test('the tally', () => printTally(800));

test.run();
