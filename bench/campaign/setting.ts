/** Where the campaign's files are, and how much of each run is done. */
import { join } from 'node:path';
import type { Computing } from '../unlearn-measure.ts';
import { GIVEN, type Split } from './runs.ts';

export interface Setting extends Computing {
  /** TOFU's files. */
  readonly data: string;
  /** nano-base, nano-tofu-full, nano-tofu-retain90, and SmolLM2's GGUF file. */
  readonly models: string;
  /** For what is made on the way: references. */
  readonly work: string;
  /** Questions of each set that answers are written to, for ROUGE-L and fluency. */
  readonly written: number;
  /** Some examples and steps of each kind, to see that all of it runs. */
  readonly quick: boolean;
}

export const modelOf = ({ models }: Setting): string => join(models, 'nano-tofu-full');
export const baseOf = ({ models }: Setting): string => join(models, 'nano-base');
export const smolOf = ({ models }: Setting): string => join(models, 'SmolLM2-135M-Instruct.Q4_1.gguf');

/** The split that is kept where another is forgotten. */
export function retainOf(split: Split): string {
  return `retain${100 - Number(split.replace('forget', ''))}`;
}

export function referenceOf({ models, work }: Setting, split: Split): string {
  return join(split === GIVEN ? models : work, `nano-tofu-${retainOf(split)}`);
}
