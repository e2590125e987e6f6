/** Places for stores that are there for one test: a folder, or a name in the origin private file system. */
export interface TemporaryStore {
  /** For `openShotStore`. */
  readonly name: string;
  remove(): Promise<void>;
}

let count = 0;

export async function temporaryStore(): Promise<TemporaryStore> {
  if (!('document' in globalThis)) {
    const { mkdtemp, rm } = await import('node:fs/promises');
    const { tmpdir } = await import('node:os');
    const { join } = await import('node:path');
    const name = await mkdtemp(join(tmpdir(), 'espalier-shots-'));
    return { name, remove: () => rm(name, { recursive: true, force: true }) };
  }
  const name = `shots-test-${count++}`;
  const remove = async () => {
    const root = await navigator.storage.getDirectory();
    await root.removeEntry(name, { recursive: true }).catch(() => {});
  };
  await remove();
  return { name, remove };
}
