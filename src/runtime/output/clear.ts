type Fs = typeof import('node:fs/promises');

/**
 * Removes what is in a folder and in the folders in it, which go with all that was in them.
 * @param keeps whether a file of this name, `file` or `folder/file`, stays
 * @returns the names of those that went
 */
export async function clearFolder(fs: Fs, root: string, keeps: (name: string) => boolean): Promise<string[]> {
  const gone: string[] = [];
  const clear = async (folder: string, before: string): Promise<void> => {
    for (const entry of await fs.readdir(folder, { withFileTypes: true })) {
      const [name, path] = [`${before}${entry.name}`, `${folder}/${entry.name}`];
      if (entry.isDirectory() && before === '') {
        await clear(path, `${name}/`);
        // what is kept keeps it
        await fs.rmdir(path).catch(() => {});
      } else if (!keeps(name)) {
        await fs.rm(path, { recursive: true, force: true });
        gone.push(name);
      }
    }
  };
  await clear(root, '');
  return gone;
}
