/** Thin SVD and symmetric eigenvalues in one lane, in turn with LAPACK (SciPy, one thread) and ml-matrix. */
import { LinearAlgebra } from '../src/svd/index.ts';
import { fillNormal } from '../src/svd/normal.ts';
import { type Contender, compare, goal, header, machine, ratios, type Timing } from './harness.ts';
import { Lapack, available as noScipy } from './peers/lapack.ts';
import * as ml from './peers/ml-matrix.ts';
import { numbers, type Suite } from './suite.ts';

const ROWS = 1536;
const COLUMNS = 576;
/** All contenders must agree on the values, of the largest. */
const TOLERANCE = 1e-12;

function agree(name: string, got: ArrayLike<number>, want: ArrayLike<number>, tolerance = TOLERANCE): void {
  let worst = got.length === want.length ? 0 : Number.NaN;
  const largest = Math.max(Math.abs(want[0]!), Math.abs(want[want.length - 1]!));
  for (let i = 0; i < want.length; i++) worst = Math.max(worst, Math.abs(got[i]! - want[i]!) / largest);
  if (!(worst <= tolerance)) throw new Error(`${name} computes other values: ${worst} of the largest`);
}

const one = (name: string, unit: string, run: () => Promise<number | undefined> | undefined): Contender => {
  return { name, unit, unitsPerRun: 1, run };
};

/** A contender with a clock of its own. */
function child(name: string, unit: string, run: () => Promise<{ seconds: number }>): Contender {
  return one(name, unit, async () => (await run()).seconds);
}

const suite: Suite = {
  about: 'thin SVD and symmetric eigenvalues against LAPACK and ml-matrix  (--n 576,1024 --rounds 6 --slow 2)',
  async run(context) {
    const { print } = context;
    const orders = numbers(context, 'n', [COLUMNS, 1024]);
    const [rounds = 6] = numbers(context, 'rounds', [6]);
    const [slow = 2] = numbers(context, 'slow', [2]);
    const skipped: Record<string, string> = {};
    const note = (name: string, reason: string | null) => {
      if (reason) skipped[name] = reason;
      return reason === null;
    };
    const lapack = note('scipy', await noScipy()) ? new Lapack() : null;
    const js = note('ml-matrix', await ml.available());
    const algebra = await LinearAlgebra.create();
    const tables: Record<string, Timing[]> = {};
    const goals: string[] = [];
    const figures: Record<string, number> = {};
    try {
      const a = new Float64Array(ROWS * COLUMNS);
      fillNormal(a, 1);
      const a32 = Float32Array.from(a);
      const shape = { rows: ROWS, columns: COLUMNS };
      const unit = 'SVD';
      const own = one('espalier', unit, async () => void (await algebra.svd(a, shape)));
      const result = await algebra.svd(a, { ...shape, quality: true });
      const single = await algebra.svd(a32, { ...shape, quality: true });
      figures['f64: residual'] = result.quality!.residual;
      figures['f64: orthogonality'] = result.quality!.orthogonality;
      figures['f32: residual'] = single.quality!.residual;

      const title = `thin SVD ${ROWS} x ${COLUMNS}`;
      const contenders = [
        own,
        one('espalier, f32', unit, async () => void (await algebra.svd(a32, shape))),
        one('espalier, relative', unit, async () => void (await algebra.svd(a, { ...shape, accuracy: 'relative' }))),
      ];
      if (lapack) {
        await lapack.load('a', a, ROWS, COLUMNS);
        agree('dgesdd', (await lapack.svd('a')).values, result.s);
        contenders.push(child('dgesdd', unit, () => lapack.svd('a')));
        contenders.push(child('sgesdd', unit, () => lapack.svd('a', true)));
      }
      tables[title] = await compare(contenders, { rounds, warmup: 2 });
      const ratio = (table: string, name: string) => tables[table]!.find((t) => t.name === name)?.ratio ?? Number.NaN;
      if (lapack) goals.push(goal(`${title}: dgesdd's time / ours`, ratio(title, 'dgesdd'), 1 / 3));
      if (js) {
        const other = await ml.svd(a, ROWS, COLUMNS);
        const slowTitle = `${title}, plain JavaScript`;
        agree('ml-matrix', other.run(), result.s);
        const contender = one('ml-matrix', unit, () => void other.run());
        tables[slowTitle] = await compare([own, contender], { rounds: slow, warmup: 0 });
        goals.push(goal(`${title}: ml-matrix's time / ours`, ratio(slowTitle, 'ml-matrix'), 15));
      }
      for (const n of orders) {
        const s = new Float64Array(n * n);
        fillNormal(s, n);
        const symmetric = s.map((_, i) => s[Math.min(i, (i % n) * n + Math.floor(i / n))]!);
        const eig = await algebra.symmetricEig(symmetric, { n, quality: true });
        figures[`eigenvalues ${n}: residual`] = eig.quality!.residual;
        const name = `symmetric eigenvalues and vectors, n = ${n}`;
        const list = [one('espalier', 'eig', async () => void (await algebra.symmetricEig(symmetric, { n })))];
        if (lapack) {
          await lapack.load(`s${n}`, symmetric, n, n);
          agree('dsyevd', (await lapack.eigh(`s${n}`)).values, eig.values);
          list.push(child('dsyevd', 'eig', () => lapack.eigh(`s${n}`)));
        }
        tables[name] = await compare(list, { rounds, warmup: 1 });
        if (lapack) goals.push(goal(`${name}: dsyevd's time / ours`, ratio(name, 'dsyevd'), 1 / 2.5));
      }
    } finally {
      algebra.close();
      await lapack?.dispose();
    }
    const info = machine([lapack?.version ?? null, js ? await ml.version() : null]);
    print(header(info));
    for (const reason of Object.values(skipped)) print(`left out: ${reason}`);
    for (const [title, timings] of Object.entries(tables)) {
      print(`\n${title}, best ${timings.map((t) => `${t.name} ${(1000 / t.best).toFixed(0)} ms`).join(', ')}`);
      print(ratios(timings));
    }
    print('');
    for (const [name, value] of Object.entries(figures)) print(`${name}: ${value.toExponential(1)}`);
    print(`\n${goals.join('\n')}`);
    return { machine: info, skipped, tables, figures, goals };
  },
};
export default suite;
