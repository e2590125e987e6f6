import { EspalierError } from '../../errors.ts';
import { indexOfLargest } from '../../model/divergence.ts';
import { checked } from '../../options/check.ts';
import { callback, defaulting, listOf, type Schema, text, truth } from '../../options/rules.ts';

export interface LabelTrieOptions {
  /** End of the prompt, such as `Type:`, behind which labels are tokenised. Default: none. */
  readonly prompt?: string;
  /** What a label looks like there. Default: a space and the label. */
  readonly labelText?: (label: string) => string;
  /** Follows a label that is the beginning of another one, as it follows the labels in the shots. Default LF. */
  readonly terminator?: string;
  /** Cuts each label behind the first token that no other label shares with it so far. Default false. */
  readonly cut?: boolean;
}

export const labelTrieOptions = {
  prompt: defaulting(text(), ''),
  labelText: callback,
  terminator: defaulting(text(), '\n'),
  cut: defaulting(truth, false),
} as const satisfies Schema<LabelTrieOptions>;

/** A point of the trie: so many tokens of one or more labels. */
export interface LabelNode {
  /** From 0, the root; a parent comes before its children. */
  readonly index: number;
  /** Tokens above it, and its own. */
  readonly depth: number;
  /** -1 at the root. */
  readonly token: number;
  readonly parent: LabelNode | null;
  /** By token, ascending. */
  readonly children: ReadonlyMap<number, LabelNode>;
  /** Index of the label that ends here; null on the way. */
  readonly label: number | null;
}

export interface LabelPath {
  /** Index of the label. */
  readonly label: number;
  readonly ids: readonly number[];
  /** The nodes behind each id: ids[i] leads to nodes[i]. */
  readonly nodes: readonly LabelNode[];
}

/** What is needed of a tokenizer. */
export interface LabelTokenizer {
  encode(text: string, options: { readonly addSpecialTokens: false }): readonly number[];
}

type Building = Omit<LabelNode, 'children' | 'label'> & {
  readonly children: Map<number, Building>;
  label: number | null;
};

/**
 * Labels as the tokens that a model would write them in, joined where they begin alike. Every label ends in a leaf, and every leaf is
 * a label: one that is the beginning of another has got a terminator.
 */
export class LabelTrie {
  readonly labels: readonly string[];
  readonly root: LabelNode;
  /** All of them, a parent before its children. */
  readonly nodes: readonly LabelNode[];
  readonly #paths: readonly LabelPath[];

  private constructor(labels: readonly string[], ids: readonly (readonly number[])[]) {
    this.labels = labels;
    const nodes: Building[] = [];
    const node = (token: number, parent: Building | null): Building => {
      const made = {
        index: nodes.length,
        depth: (parent?.depth ?? -1) + 1,
        token,
        parent,
        children: new Map(),
        label: null,
      };
      nodes.push(made);
      return made;
    };
    const root = node(-1, null);
    // in the order of the tokens, so that children are
    const order = ids.map((_, label) => label).sort((a, b) => compare(ids[a]!, ids[b]!));
    const paths: LabelPath[] = [];
    for (const label of order) {
      let at = root;
      const passed = ids[label]!.map((token) => {
        let next = at.children.get(token);
        if (!next) {
          next = node(token, at);
          at.children.set(token, next);
        }
        at = next;
        return next;
      });
      at.label = label;
      paths[label] = { label, ids: ids[label]!, nodes: passed };
    }
    this.root = root;
    this.nodes = nodes;
    this.#paths = paths;
  }

  /**
   * @throws E_ARGUMENT for fewer than two labels, empty or equal ones, two that cannot be told apart even by the terminator, and a
   *   label whose first token would swallow the end of the prompt
   */
  static create(tokenizer: LabelTokenizer, labels: readonly string[], options: LabelTrieOptions = {}): LabelTrie {
    const given = checked<LabelTrieOptions>(labelTrieOptions, options, 'LabelTrie.create()');
    const { prompt = '', labelText = (label) => ` ${label}`, terminator = '\n', cut = false } = given;
    labels = listOf(text('a text')).check(labels, 'labels');
    if (labels.length < 2) throw refused(`There are ${labels.length} labels.`, 'Give two or more.');
    const empty = labels.findIndex((label) => label.trim() === '');
    if (empty >= 0) throw refused(`Label ${empty} is empty.`, 'Give each label a word.');
    const seen = new Set<string>();
    const twice = labels.find((label) => seen.size === seen.add(label).size);
    if (twice !== undefined) throw refused(`The label "${twice}" occurs twice.`, 'Give each label once.');

    const start = tokenizer.encode(prompt, { addSpecialTokens: false });
    const encode = (label: string, end: string): readonly number[] => {
      const ids = tokenizer.encode(`${prompt}${labelText(label)}${end}`, { addSpecialTokens: false });
      if (ids.length <= start.length || start.some((id, i) => ids[i] !== id)) {
        throw refused(
          `The label "${label}" joins a token with the end of the prompt.`,
          'End the prompt with a mark, such as a colon, and no space.',
        );
      }
      return ids.slice(start.length);
    };
    const bare = labels.map((label) => encode(label, ''));
    const begins = prefixes(bare);
    const ids = bare.map((label, i) => (begins.has(i) ? encode(labels[i]!, terminator) : label));
    for (const i of prefixes(ids)) {
      throw refused(`The label "${labels[i]}" is the beginning of another one.`, 'Rename it, or give a terminator.');
    }
    return new LabelTrie(labels, cut ? shortest(ids) : ids);
  }

  /** Some of the labels, by index, in this order: tokenised as here. */
  among(indices: readonly number[]): LabelTrie {
    return new LabelTrie(
      indices.map((index) => this.labels[index]!),
      indices.map((index) => this.#paths[index]!.ids),
    );
  }

  /** Tokens that may follow a node, ascending; none behind a whole label. */
  nextTokens(node: LabelNode = this.root): readonly number[] {
    return [...node.children.keys()];
  }

  /** The tokens of every label, in the order of the labels. */
  paths(): readonly LabelPath[] {
    return this.#paths;
  }

  /**
   * Tokens to run behind the prompt, such that a prediction is made at every node that has a choice or a next token: every inner node
   * but the root stands in one branch or more. Empty where all labels are single tokens: the prompt's own last row is enough then.
   */
  branches(): readonly Omit<LabelPath, 'label'>[] {
    const inner = (node: LabelNode) => node.children.size > 0;
    const ends = this.nodes.filter((node) => node.depth > 0 && inner(node) && ![...node.children.values()].some(inner));
    return ends.map((end) => {
      const nodes: LabelNode[] = [];
      for (let at: LabelNode | null = end; at !== null && at.depth > 0; at = at.parent) nodes.unshift(at);
      return { ids: nodes.map(({ token }) => token), nodes };
    });
  }
}

/** Log-probabilities of the children of a node, in nats, in the order of `nextTokens`, out of the whole vocabulary. */
export type ChildLogProbs = (node: LabelNode) => ArrayLike<number>;

/** Rule S2: log-probability of each label, the sum over its tokens, in nats. */
export function sumLogProbabilities(trie: LabelTrie, at: ChildLogProbs): Float64Array {
  const sums = new Float64Array(trie.nodes.length);
  for (const node of trie.nodes) {
    if (node.children.size === 0) continue;
    const values = at(node);
    let i = 0;
    for (const child of node.children.values()) sums[child.index] = sums[node.index]! + values[i++]!;
  }
  return Float64Array.from(trie.paths(), ({ nodes }) => sums[nodes.at(-1)!.index]!);
}

/**
 * Rule S1: from the root on always the likeliest child; between equal ones that with the lower token. Nodes with one child are
 * passed without asking.
 * @returns index of the label
 */
export function greedyLabel(trie: LabelTrie, at: ChildLogProbs): number {
  let node = trie.root;
  while (node.label === null) {
    const children = [...node.children.values()];
    node = children[children.length === 1 ? 0 : indexOfLargest(at(node))]!;
  }
  return node.label;
}

/** Probabilities that sum to 1 over the labels, and their entropy in nats (E4). */
export function overLabels(logProbabilities: ArrayLike<number>): { probabilities: Float64Array; entropy: number } {
  const top = Math.max(...Array.from(logProbabilities));
  const probabilities = Float64Array.from(logProbabilities, (value) => Math.exp(value - top));
  const sum = probabilities.reduce((total, p) => total + p, 0);
  let entropy = 0;
  for (let i = 0; i < probabilities.length; i++) {
    const p = (probabilities[i]! /= sum);
    if (p > 0) entropy -= p * Math.log(p);
  }
  return { probabilities, entropy };
}

/** Which lists are the beginning of another one, or equal to it. */
function prefixes(lists: readonly (readonly number[])[]): ReadonlySet<number> {
  const found = new Set<number>();
  const order = lists.map((_, i) => i).sort((a, b) => compare(lists[a]!, lists[b]!));
  // in order, a beginning stands right before what it begins
  for (let i = 0; i + 1 < order.length; i++) {
    const next = lists[order[i + 1]!]!;
    if (lists[order[i]!]!.every((id, k) => next[k] === id)) found.add(order[i]!);
  }
  return found;
}

/** Each list cut behind the first place that sets it apart from all others; in order these are the neighbours. */
function shortest(lists: readonly (readonly number[])[]): readonly number[][] {
  const order = lists.map((_, i) => i).sort((a, b) => compare(lists[a]!, lists[b]!));
  const common = (a: number | undefined, b: number | undefined): number => {
    if (a === undefined || b === undefined) return 0;
    let n = 0;
    while (n < lists[a]!.length && lists[a]![n] === lists[b]![n]) n++;
    return n;
  };
  const cut: number[][] = [];
  for (const [i, label] of order.entries()) {
    cut[label] = lists[label]!.slice(0, 1 + Math.max(common(label, order[i - 1]), common(label, order[i + 1])));
  }
  return cut;
}

function compare(a: readonly number[], b: readonly number[]): number {
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return a.length - b.length;
}

function refused(message: string, hint: string): EspalierError {
  return new EspalierError('E_ARGUMENT', message, hint);
}
