/** Labels as tries of tokens: in context, told apart, cut, scored. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { EspalierError } from '../../src/errors.ts';
import { indexOfLargest, logSoftmax } from '../../src/model/divergence.ts';
import { Tokenizer } from '../../src/model/text/tokenizer.ts';
import { uniform } from '../../src/random.ts';
import {
  greedyLabel,
  type LabelNode,
  LabelTrie,
  overLabels,
  sumLogProbabilities,
} from '../../src/show/probe/labels.ts';
import { Worst } from '../device/devices.ts';
import { code } from '../errors.ts';
import { exists, modelTarget } from '../files.ts';

const worst = new Worst();

async function tokenizerOf(path: string): Promise<Tokenizer> {
  const checkpoint = await openCheckpoint(await modelTarget(path));
  try {
    return Tokenizer.create(await checkpoint.tokenizer());
  } finally {
    await checkpoint.close();
  }
}

const tokenizer = await tokenizerOf('models/nano-base');
const plain = (text: string) => tokenizer.encode(text, { addSpecialTokens: false });
const TREC = ['abbreviation', 'entity', 'description', 'human', 'location', 'numeric'];
const CARDS = ['card', 'card arrival', 'card arrival late', 'top up', 'top up failed'];

/** One token a character: what is expected can be read. */
const letters = { encode: (text: string) => Array.from(text, (char) => char.charCodeAt(0)) };
const word = (ids: readonly number[]) => String.fromCharCode(...ids);

test('labels are tokenised as they stand behind the prompt', () => {
  const trie = LabelTrie.create(tokenizer, TREC, { prompt: 'Type:' });
  assert.equal(trie.labels, TREC);
  for (const { label, ids, nodes } of trie.paths()) {
    assert.equal([...plain('Type:'), ...ids], plain(`Type: ${TREC[label]}`));
    assert.is(nodes.length, ids.length);
    assert.is(nodes.at(-1)!.label, label);
    assert.is(nodes.at(-1)!.children.size, 0);
    nodes.forEach((node, i) => {
      assert.is(node.token, ids[i]);
      assert.is(node.depth, i + 1);
      assert.is(node.parent, i === 0 ? trie.root : nodes[i - 1]);
    });
  }
});

test('SentencePiece writes the space of a label once', async () => {
  const path = '../shared/models/stories260K';
  if (!(await exists(path))) return console.log('  skipped: no stories260K');
  const pieces = await tokenizerOf(path);
  const encode = (text: string) => pieces.encode(text, { addSpecialTokens: false });
  for (const { label, ids } of LabelTrie.create(pieces, TREC, { prompt: 'Type:' }).paths()) {
    assert.equal([...encode('Type:'), ...ids], encode(`Type: ${TREC[label]}`));
    assert.is(pieces.decode(ids, { continues: true }), ` ${TREC[label]}`);
  }
});

test('a label that begins another gets the terminator', () => {
  const trie = LabelTrie.create(tokenizer, CARDS, { prompt: 'intent:' });
  for (const { label, ids } of trie.paths()) {
    const ended = ['card', 'card arrival', 'top up'].includes(CARDS[label]!);
    assert.equal([...plain('intent:'), ...ids], plain(`intent: ${CARDS[label]}${ended ? '\n' : ''}`));
  }
  const other = LabelTrie.create(letters, ['a', 'ab'], { labelText: (label) => label, terminator: '.' });
  assert.equal(
    other.paths().map(({ ids }) => word(ids)),
    ['a.', 'ab'],
  );
});

test('next tokens, ascending, and nodes in order', () => {
  const trie = LabelTrie.create(letters, ['bee', 'ant', 'bear', 'cat'], { labelText: (label) => label });
  assert.is(word(trie.nextTokens()), 'abc');
  const b = trie.root.children.get('b'.charCodeAt(0))!;
  assert.is(word(trie.nextTokens(b)), 'e');
  assert.is(word(trie.nextTokens(b.children.get('e'.charCodeAt(0))!)), 'ae');
  for (const { nodes } of trie.paths()) assert.equal(trie.nextTokens(nodes.at(-1)!), []);
  trie.nodes.forEach((node, i) => {
    assert.is(node.index, i);
    assert.ok(node.parent === null ? i === 0 : node.parent.index < i);
  });
});

test('cut labels are the shortest that are told apart', () => {
  const cut = (labels: readonly string[], prompt = 'x') =>
    LabelTrie.create(letters, labels, { prompt, labelText: (label) => label, cut: true })
      .paths()
      .map(({ ids }) => word(ids));
  assert.equal(cut(['bee', 'ant', 'bear', 'cat']), ['bee', 'a', 'bea', 'c']);
  assert.equal(cut(['car', 'cart', 'cards']), ['car\n', 'cart', 'card']);
  const whole = LabelTrie.create(tokenizer, TREC, { prompt: 'Type:' });
  const short = LabelTrie.create(tokenizer, TREC, { prompt: 'Type:', cut: true });
  for (const [i, { ids }] of short.paths().entries()) {
    const full = whole.paths()[i]!.ids;
    assert.equal(ids, full.slice(0, ids.length));
    const alike = (length: number) =>
      whole.paths().filter((p) => full.slice(0, length).every((id, k) => p.ids[k] === id));
    assert.is(alike(ids.length).length, 1);
    if (ids.length > 1) assert.ok(alike(ids.length - 1).length > 1);
  }
});

/** A log-probability for every token behind every node, from a made-up model over 256 tokens. */
const rows = new Map<LabelNode, Float64Array>();
function row(node: LabelNode): Float64Array {
  let found = rows.get(node);
  if (!found) {
    found = logSoftmax(Array.from({ length: 256 }, (_, token) => 5 * uniform(9, 256 * node.index + token)));
    rows.set(node, found);
  }
  return found;
}
const children = (trie: LabelTrie) => (node: LabelNode) => trie.nextTokens(node).map((token) => row(node)[token]!);

test('the sum of log-probabilities is that of each label by itself', () => {
  const trie = LabelTrie.create(letters, ['bee', 'ant', 'bear', 'be', 'cat', 'cattle'], {
    labelText: (label) => label,
  });
  const sums = sumLogProbabilities(trie, children(trie));
  let all = 0;
  for (const { label, ids, nodes } of trie.paths()) {
    let want = 0;
    ids.forEach((id, i) => {
      want += row(i === 0 ? trie.root : nodes[i - 1]!)[id]!;
    });
    assert.ok(worst.within('sum of log-probabilities', Math.abs(sums[label]! - want), 1e-12));
    all += Math.exp(want);
  }
  assert.ok(all < 1); // labels exclude each other: none begins another

  const { probabilities, entropy } = overLabels(sums);
  for (const [i, p] of probabilities.entries()) {
    assert.ok(worst.within('probability', Math.abs(p - Math.exp(sums[i]!) / all), 1e-12));
  }
  const want = -probabilities.reduce((sum, p) => sum + p * Math.log(p), 0);
  assert.ok(worst.within('entropy', Math.abs(entropy - want), 1e-12));
});

test('the greedy label follows the likeliest token, and asks only where there is a choice', () => {
  const labels = ['bee', 'ant', 'bear', 'be', 'cat', 'cattle'];
  const trie = LabelTrie.create(letters, labels, { labelText: (label) => label });
  const asked: LabelNode[] = [];
  const got = greedyLabel(trie, (node) => {
    asked.push(node);
    return children(trie)(node);
  });
  // the same over texts, without a trie
  let open = trie.paths();
  for (let depth = 0; open.length > 1; depth++) {
    const before = depth === 0 ? trie.root : open[0]!.nodes[depth - 1]!;
    const best = Math.max(...open.map(({ ids }) => row(before)[ids[depth]!]!));
    open = open.filter(({ ids }) => row(before)[ids[depth]!] === best);
  }
  assert.is(got, open[0]!.label);
  assert.ok(asked.length > 0 && asked.every((node) => node.children.size > 1));
  assert.is(indexOfLargest([1, 3, 3]), 1);
});

test('certain and even labels', () => {
  const certain = overLabels([0, Number.NEGATIVE_INFINITY]);
  assert.equal([...certain.probabilities], [1, 0]);
  assert.is(certain.entropy, 0);
  const even = overLabels(new Float64Array(8).fill(-1000)); // far below what exp can hold
  assert.ok(worst.within('entropy of even labels', Math.abs(even.entropy - Math.log(8)), 1e-12));
});

test('branches pass every inner node but the root', () => {
  for (const [labels, prompt] of [
    [TREC, 'Type:'],
    [CARDS, 'intent:'],
  ] as const) {
    const trie = LabelTrie.create(tokenizer, labels, { prompt });
    const passed = new Set<LabelNode>();
    for (const { ids, nodes } of trie.branches()) {
      assert.equal(
        nodes.map(({ token }) => token),
        ids,
      );
      nodes.forEach((node, i) => {
        assert.is(node.parent, i === 0 ? trie.root : nodes[i - 1]);
        passed.add(node);
      });
    }
    const inner = trie.nodes.filter((node) => node.depth > 0 && node.children.size > 0);
    assert.is(passed.size, inner.length);
    assert.ok(inner.length > 0 && inner.every((node) => passed.has(node)));
  }
  assert.equal(LabelTrie.create(letters, ['a', 'b'], { labelText: (label) => label }).branches(), []);
});

test('labels that mean nothing are refused', () => {
  const refused = (labels: readonly string[], options = {}) =>
    assert.throws(() => LabelTrie.create(tokenizer, labels, options), code('E_ARGUMENT'));
  refused([]);
  refused(['one']);
  refused(['one', ' ']);
  refused(['one', 'two', 'one']);
  refused(['one', 'one more'], { terminator: '' });
  refused(['one', 'one\ntwo']); // the terminator tells nothing here
  refused(['one', 'two'], { prompt: 'Type: ', labelText: (label: string) => label }); // the space goes into ' one'
  try {
    LabelTrie.create(letters, ['x', 'xy'], { terminator: '' });
  } catch (error) {
    assert.match((error as EspalierError).message, '"x"');
    assert.ok(error instanceof EspalierError);
  }
});

test.after(() => worst.print());
test.run();
