/** One run of the experiment: an arm and a seed. */
import { readFile, rm } from 'node:fs/promises';
import { bleu } from '../../src/evaluate/scores/bleu.ts';
import { chrf } from '../../src/evaluate/scores/chrf.ts';
import { grow, memoryOutput } from '../../src/grow.ts';
import { type ModelTarget, openLocal, WasmDevice } from '../../src/local.ts';
import { train } from '../../src/train.ts';
import { trainableFolder } from '../pretrain/unpack.ts';
import type { Arm } from './arms.ts';
import type { Run } from './report.ts';

export const DEVICES = ['wasm', 'webgpu'] as const;

export interface Setting {
  readonly model: string;
  readonly train: string;
  readonly heldOut: string;
  readonly steps: number;
  readonly batch: number;
  readonly learningRate: number;
  /** Every how many layers has experts. */
  readonly interval: number;
  readonly lanes: number | 'auto';
  /** What trains, and translates. Models are grown on the CPU: the same bits for either. */
  readonly device: (typeof DEVICES)[number];
  /** Sentences of what is held out that are translated, and scored. */
  readonly translate: number;
  readonly maxTokens: number;
}

/** @param folder what is trained is written there, and goes when it was scored */
export async function runArm(arm: Arm, seed: number, setting: Setting, folder: string): Promise<Run> {
  const { lanes, device, steps, batch, learningRate, maxTokens } = setting;
  const unpacked = `${folder}-source`;
  const source = await grown(arm, seed, setting, unpacked);
  const receipt = await train(source, {
    data: setting.train,
    heldOut: setting.heldOut,
    full: true,
    steps,
    batch,
    learningRate,
    maxTokens,
    long: 'skip',
    seed,
    lanes,
    device,
    dtype: 'f32',
    saveEvery: 0,
    evaluateEvery: steps,
    tau: arm.tau,
    restart: true,
    out: folder,
  });
  const scores = setting.translate > 0 ? await translated(folder, setting) : { chrf: null, bleu: null };
  for (const own of [folder, unpacked]) await rm(own, { recursive: true, force: true });
  const [before, after] = [receipt.heldOut[0]!, receipt.heldOut.at(-1)!];
  return { arm: arm.name, seed, lossBefore: before.loss, loss: after.loss, ...scores, seconds: receipt.seconds };
}

/** The dense model, of a GGUF file unpacked, or what the arm makes of it, in memory. */
async function grown(
  { grow: recipe }: Arm,
  seed: number,
  { model, interval, lanes }: Setting,
  unpacked: string,
): Promise<ModelTarget> {
  if (recipe === null) return trainableFolder(model, unpacked);
  const out = memoryOutput('the grown model');
  await grow(model, { ...recipe, layers: { interval }, seed, lanes, verify: false, out });
  return out.result();
}

/** chrF and BLEU of greedy translations, over all languages together, as the experiment that this repeats reports them. */
async function translated(
  folder: string,
  { heldOut, translate, lanes, device }: Setting,
): Promise<{ chrf: number; bleu: number }> {
  const [head, ...rows] = (await readFile(heldOut, 'utf8'))
    .trimEnd()
    .split('\n')
    .map((line) => line.split('\t'));
  const column = (name: string): number => head!.indexOf(name);
  // evenly over the file, so that all languages are among them
  const chosen = Array.from({ length: Math.min(translate, rows.length) }, (_, i) => {
    const row = rows[Math.floor((i * rows.length) / Math.min(translate, rows.length))]!;
    return {
      prompt: `English: ${row[column('source')]!}\n${row[column('language')]!}:`,
      reference: row[column('target')]!,
    };
  });
  const cpu = device === 'wasm' ? await WasmDevice.create({ lanes: lanes === 'auto' ? 2 : lanes }) : null;
  const model = await openLocal(folder, { device: cpu ?? 'webgpu', precision: 'exact' });
  try {
    const texts = await model
      .generateBatch(
        chosen.map(({ prompt }) => prompt),
        { maxTokens: 96, stop: ['\n'], batch: 16 },
      )
      .texts();
    const hypotheses = texts.map((text) => text.trim());
    const references = [chosen.map(({ reference }) => reference)];
    return { chrf: chrf(hypotheses, references).score, bleu: bleu(hypotheses, references).score };
  } finally {
    model.close();
    cpu?.close();
  }
}
