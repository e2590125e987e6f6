/** Tells once that a worker is gone, to those who ask before and to those who ask after. */
export class Loss {
  #lost: { readonly cause: unknown } | null = null;
  #callbacks: ((cause: unknown) => void)[] = [];

  readonly lose = (cause: unknown): void => {
    if (this.#lost) return;
    this.#lost = { cause };
    for (const callback of this.#callbacks.splice(0)) callback(cause);
  };

  readonly onLost = (callback: (cause: unknown) => void): void => {
    if (this.#lost) callback(this.#lost.cause);
    else this.#callbacks.push(callback);
  };
}
