import { readJsonFile } from '../../datasets/json-rows.ts';
import { EspalierError } from '../../errors.ts';
import { isOptions } from '../../options/rules.ts';
import type { ReportedMeasure } from '../../prune/report/report.ts';

/** Of all that was asked, by where it stands in what `eval tofu`, `eval muse` and `eval choice` write. */
const FIGURES: readonly (readonly [path: string, name: string])[] = [
  ['forgetQuality.p', 'forget quality (p of a KS test)'],
  ['modelUtility', 'model utility'],
  ['verbMem', 'VerbMem'],
  ['knowMem.forget', 'KnowMem of what is forgotten'],
  ['knowMem.retain', 'KnowMem of what is kept'],
  ['privLeak', 'PrivLeak'],
  ['accuracy', 'accuracy'],
];

/** The same of one set of questions. */
const OF_SETS: readonly (readonly [path: string, name: string])[] = [
  ['probability', 'probability'],
  ['rougeL', 'ROUGE-L'],
  ['truthRatioScore', 'truth ratio'],
  ['exactMemorisation', 'exact memorisation'],
  ['extractionStrength', 'extraction strength'],
  ['accuracy', 'accuracy'],
  ['fluency.perplexity', 'perplexity of answers'],
  ['fluency.distinct2', 'distinct bigrams of answers'],
  ['fluency.distinct3', 'distinct trigrams of answers'],
  ['fluency.repetition', 'repetition in answers'],
];

/** Files of the model without the adapter, with it, and of one that it should come to. */
export interface MeasureFiles {
  readonly before: readonly string[];
  readonly after: readonly string[];
  readonly aim: readonly string[];
}

/**
 * Measures that files hold which `espalier eval tofu|muse|choice` has written, by `--json` or to its `--log`, side by side.
 * @throws E_FILE_NOT_FOUND, E_FILE_READ; E_DATA_INVALID for what holds no such figure
 */
export async function measuresOfFiles(files: MeasureFiles): Promise<readonly ReportedMeasure[]> {
  const [before, after, aim] = [
    await figuresOf(files.before),
    await figuresOf(files.after),
    await figuresOf(files.aim),
  ];
  const names = new Set([before, after, aim].flatMap((own) => [...own.keys()]));
  return [...names].map((name) => ({
    name,
    before: before.get(name) ?? null,
    after: after.get(name) ?? null,
    aim: aim.get(name) ?? null,
  }));
}

async function figuresOf(paths: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>();
  for (const path of paths) {
    const { name, value } = await readJsonFile(path);
    const sets = isOptions(value) && isOptions(value['sets']) ? Object.entries(value['sets']) : [];
    const own = [
      ...FIGURES.map(([at, called]) => [called, numberAt(value, at)] as const),
      ...sets.flatMap(([set, measures]) =>
        OF_SETS.map(([at, called]) => [`${set}: ${called}`, numberAt(measures, at)] as const),
      ),
    ];
    const figures = own.flatMap(([called, figure]) => (figure === null ? [] : [[called, figure] as const]));
    if (figures.length === 0) {
      throw new EspalierError(
        'E_DATA_INVALID',
        `${name}: there is no figure of an evaluation.`,
        'Give what espalier eval tofu, muse or choice wrote, with --log FILE or --json.',
      );
    }
    for (const [called, figure] of figures) found.set(called, figure);
  }
  return found;
}

function numberAt(value: unknown, path: string): number | null {
  const found = path.split('.').reduce((at: unknown, key) => (isOptions(at) ? at[key] : undefined), value);
  return typeof found === 'number' ? found : null;
}
