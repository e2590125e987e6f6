/** Of the branch alone: an operation that is still to be written. */
export function notYet(name: string): never {
  throw new Error(`webgpu: ${name} is still to be written`);
}
