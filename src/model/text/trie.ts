/** Texts by their UTF-16 units, each with a number. It takes some twenty bytes for each unit that texts do not share. */
export class Trie {
  /** An open hash table over (node, unit). Node 0 is the root, and no one's child. */
  #parents: Int32Array;
  #units: Uint16Array;
  #children: Int32Array;
  #mask: number;
  #count = 0;
  /** By node; -1 where no text ends. */
  #values: Int32Array;

  constructor() {
    this.#mask = 1023;
    this.#parents = new Int32Array(1024);
    this.#units = new Uint16Array(1024);
    this.#children = new Int32Array(1024);
    this.#values = new Int32Array(512).fill(-1);
  }

  /** Puts a text in; one that is there gets the new number. */
  insert(text: string, value: number): void {
    let node = 0;
    for (let i = 0; i < text.length; i++)
      node = this.child(node, text.charCodeAt(i)) || this.#add(node, text.charCodeAt(i));
    this.#values[node] = value;
  }

  /** The node after one more unit, or 0. */
  child(node: number, unit: number): number {
    let slot = this.#slot(node, unit);
    while (this.#children[slot] !== 0) {
      if (this.#parents[slot] === node && this.#units[slot] === unit) return this.#children[slot]!;
      slot = (slot + 1) & this.#mask;
    }
    return 0;
  }

  /** The number of the text that ends at a node; below 0 when none does. */
  valueOf(node: number): number {
    return this.#values[node]!;
  }

  #slot(node: number, unit: number): number {
    const hash = Math.imul(node ^ Math.imul(unit + 1, 0x9e3779b1), 0x85ebca6b);
    return (hash ^ (hash >>> 15)) & this.#mask;
  }

  #add(node: number, unit: number): number {
    if (this.#count * 2 > this.#mask) this.#grow();
    const child = ++this.#count;
    if (child >= this.#values.length) {
      const values = new Int32Array(this.#values.length * 2).fill(-1);
      values.set(this.#values);
      this.#values = values;
    }
    this.#put(node, unit, child);
    return child;
  }

  #put(node: number, unit: number, child: number): void {
    let slot = this.#slot(node, unit);
    while (this.#children[slot] !== 0) slot = (slot + 1) & this.#mask;
    this.#parents[slot] = node;
    this.#units[slot] = unit;
    this.#children[slot] = child;
  }

  #grow(): void {
    const parents = this.#parents;
    const units = this.#units;
    const children = this.#children;
    const size = parents.length * 2;
    this.#mask = size - 1;
    this.#parents = new Int32Array(size);
    this.#units = new Uint16Array(size);
    this.#children = new Int32Array(size);
    children.forEach((child, slot) => {
      if (child !== 0) this.#put(parents[slot]!, units[slot]!, child);
    });
  }
}
