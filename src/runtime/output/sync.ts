type Fs = typeof import('node:fs/promises');

/** Its content outlives a power failure then. */
export async function syncFile(fs: Fs, path: string): Promise<void> {
  const file = await fs.open(path, 'r+');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** So that names outlive a power failure, where the system can do that. */
export async function syncFolder(fs: Fs, path: string): Promise<void> {
  const folder = await fs.open(path, 'r').catch(() => null);
  await folder?.sync().catch(() => {});
  await folder?.close();
}
