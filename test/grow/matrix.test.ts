/** Every method in every layout with every anchor: it has its documented effect, or it is refused; and no option is passed over. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { EspalierError } from '../../src/errors.ts';
import type { GrowRecipe } from '../../src/grow/plan/options.ts';
import { resolveOptions } from '../../src/grow/plan/recipe.ts';
import type { GrowOptions, Method, Receipt, TargetName } from '../../src/grow.ts';
import { Worst } from '../device/devices.ts';
import { grown, opened } from './growth.ts';
import { modelOf, SMALL } from './models.ts';

const worst = new Worst();
const METHODS: Method[] = ['spri', 'naive', 'noise', 'drop', 'virtual-group', 'split', 'scaled-copy', 'zero-delta'];
const ANCHORS = ['shared', 'folded', 'routed', 'none'] as const;
const RHO = 1e-3;

const one = { ...SMALL, layers: 1 };
const llama = modelOf(undefined, one);
const sources: Readonly<Record<TargetName, Record<string, Uint8Array>>> = {
  granitemoeshared: llama,
  mixtral: llama,
  espalier: llama,
  qwen2_moe: modelOf(undefined, { ...one, config: { model_type: 'qwen2' } }),
  qwen3_moe: modelOf(undefined, { ...one, config: { model_type: 'qwen3', head_dim: 8 } }),
};

/** The receipt, or the code with which it was refused. */
async function job(options: Omit<GrowOptions, 'out'>): Promise<Receipt | string> {
  try {
    return (await grown(sources[options.target as TargetName], { lanes: 1, experts: 4, ...options })).receipt;
  } catch (error) {
    const { code, message, hint } = error as EspalierError;
    assert.ok(code === 'E_ARGUMENT' || code === 'E_TARGET', `${JSON.stringify(options)}: ${error}`);
    assert.ok(message.length > 20 && hint.length > 5);
    return code;
  }
}

for (const target of Object.keys(sources) as TargetName[]) {
  test(`${target}: methods, anchors, and what preserves the function`, async () => {
    const shared = target === 'granitemoeshared' || target === 'qwen2_moe';
    const folded = target === 'mixtral' || target === 'qwen3_moe';
    let kept = 0;
    for (const method of METHODS) {
      for (const anchor of ANCHORS) {
        const correction = method === 'spri' || method === 'scaled-copy' || method === 'zero-delta';
        const fits = shared ? anchor === 'shared' : folded ? anchor !== 'shared' : true;
        const makes =
          correction ||
          (anchor !== 'folded' && !(anchor === 'routed' && (method === 'split' || method === 'virtual-group')));
        const published = await job({ target, method, anchor, verify: false });
        assert.is(typeof published === 'object', fits && makes, `${method} ${anchor}: ${published}`);
        if (typeof published === 'string') continue;
        const layer = published.grown[0]!;
        const name = `${target} ${method} ${anchor}`;
        if (method === 'zero-delta' && anchor !== 'routed') assert.is(layer.branchSize, 0);
        else if (correction && anchor !== 'routed') {
          assert.ok(layer.branchSize > 0.3 * RHO && layer.branchSize < 2 * RHO, `${name}: ${layer.branchSize}`);
        } else assert.ok(layer.branchSize > 0.05, `${name}: ${layer.branchSize}`);
        assert.match(published.start.statement, `${layer.branchSize}`);

        const preserving = { target, method, anchor, preserve: 'function-preserving' } as const;
        const got = await job(preserving);
        const can = correction
          ? anchor === 'shared' || anchor === 'folded'
          : method === 'naive' || method === 'virtual-group';
        assert.is(typeof got === 'object', can, `${name}: ${typeof got === 'string' ? got : 'was not refused'}`);
        if (typeof got === 'string') continue;
        kept++;
        const { meanKl, maxRelative, top1Agreement } = got.deviation!;
        const own = correction ? 1e-5 : 1e-9;
        assert.ok(
          worst.within(`KL of ${correction ? 'corrections' : 'what preserves the function'}`, meanKl, own),
          name,
        );
        assert.ok(correction || worst.within('logits of what preserves the function', maxRelative, 2e-6), name);
        assert.ok(correction || top1Agreement === 1);
        assert.ok(got.grown[0]!.change <= (correction ? 2 * RHO : 1e-6), `${name}: ${got.grown[0]!.change}`);
      }
    }
    assert.ok(kept >= 4, `${kept}`);
  });
}

test('a head of its own beside a flag that ties it goes into every layout', async () => {
  const own = modelOf(undefined, { ...one, config: { tie_word_embeddings: true } });
  for (const target of ['granitemoeshared', 'mixtral', 'espalier'] as const) {
    const { files, receipt } = await grown(own, { target, experts: 4, lanes: 1 });
    assert.ok(receipt.deviation!.meanKl < 1e-5, `${receipt.deviation!.meanKl}`);
    assert.ok(receipt.copied.some(({ name }) => name === 'lm_head.weight'));
    await opened(files, async (checkpoint) => {
      assert.is(checkpoint.config.tiedEmbeddings, false);
      assert.ok(checkpoint.tensors.has('lm_head.weight'));
    });
  }
});

test('weights that are not divided by their sum preserve nothing', async () => {
  const gguf = { target: 'qwen2_moe', gguf: true, method: 'naive' } as const;
  assert.is(await job({ ...gguf, preserve: 'function-preserving' }), 'E_TARGET');
  const published = (await job(gguf)) as Receipt;
  assert.ok(published.grown[0]!.branchSize < 0.9, 'two of four weights');
});

test('three placements, compared on the model: as far off as one', async () => {
  const kl = async (placement: GrowRecipe['placement']) => {
    const {
      deviation,
      grown: layers,
      start,
    } = (await job({ target: 'granitemoeshared', placement: placement! })) as Receipt;
    assert.equal(start.branchSize, [layers[0]!.branchSize, layers[0]!.branchSize]);
    return deviation!.meanKl;
  };
  const alone = await kl(['down']);
  for (const placement of [['gate'], ['gate', 'up'], ['down', 'gate', 'up']] as const) {
    const ratio = (await kl(placement)) / alone;
    assert.ok(ratio > 0.05 && ratio < 20, `${placement}: ${ratio} times the divergence`);
  }
});

test('an option that would do nothing is refused, at its default it is not', () => {
  const other: Record<string, unknown> = {
    preserve: 'function-preserving',
    groupSize: 1,
    partition: 'strided',
    shuffle: true,
    placement: ['gate'],
    rho: 0.01,
    delta: 1e-6,
    normalise: 'global',
    noise: { kind: 'relative', ratio: 0.1 },
    noiseAll: true,
    ratio: 0.25,
    sigma: 0.1,
    permute: false,
    granularity: 1,
  };
  const spri = ['groupSize', 'partition', 'shuffle', 'delta', 'normalise', 'noiseAll'];
  const corrections = ['preserve', 'placement', 'rho', 'noise'];
  const takes: Record<Method, string[]> = {
    spri: [...spri, ...corrections],
    'scaled-copy': corrections,
    'zero-delta': corrections.filter((name) => name !== 'rho'),
    naive: ['preserve'],
    noise: ['ratio', 'sigma', 'permute'],
    drop: ['ratio', 'permute'],
    'virtual-group': ['preserve', 'granularity'],
    split: [],
  };
  for (const method of METHODS) {
    const plan = resolveOptions({ method });
    // whatever is said at its default, a plan that was written down
    assert.equal(resolveOptions(JSON.parse(JSON.stringify(plan))), plan);
    for (const [name, value] of Object.entries(other)) {
      const given = { method, [name]: value } as GrowRecipe;
      let message: string | null = null;
      try {
        resolveOptions(given);
      } catch (error) {
        assert.is((error as EspalierError).code, 'E_ARGUMENT');
        message = (error as EspalierError).message;
      }
      assert.is(message === null, takes[method].includes(name), `${method} ${name}: ${message ?? 'was not refused'}`);
      if (message !== null) assert.ok(message.startsWith(name), message);
    }
  }
  assert.is(resolveOptions({ method: 'zero-delta', rho: 0.01, noise: { kind: 'relative', ratio: 1 } }).rho, 0.01);
});

test('zeros in two projections would never be trained', () => {
  const refused = (options: GrowRecipe) =>
    assert.throws(
      () => resolveOptions(options),
      (error: EspalierError) => /gradient/.test(error.message),
    );
  refused({ method: 'zero-delta', placement: ['gate', 'down'] });
  refused({ rho: 0, placement: ['up', 'down'] });
  refused({ method: 'zero-delta', placement: ['up', 'down'], noise: { kind: 'relative', ratio: 0 } });
  resolveOptions({ method: 'zero-delta', placement: ['up', 'down'], noise: { kind: 'absolute', sigma: 1e-5 } });
  resolveOptions({ method: 'zero-delta', placement: ['up', 'down'], anchor: 'folded' });
  resolveOptions({ method: 'zero-delta' });
  resolveOptions({ rho: 0 });
});

test.after(() => worst.print());
test.run();
