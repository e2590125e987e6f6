/** What the runner knows of a host, whatever it is: a file starts, prints, and ends once. */
export const HOSTS = ['node', 'deno', 'chromium', 'chromium-plain', 'firefox'] as const;
export type HostName = (typeof HOSTS)[number];

/** What operations are tested on: `wasm`, every way of computing on the CPU, or `webgpu`, a program that plays a GPU (test/device/devices.ts). */
export const DEVICES = ['wasm', 'webgpu'] as const;
export type TestDevice = (typeof DEVICES)[number];

export interface Host {
  /** For the report: `Node 20.20.2`. */
  readonly title: string;
  start(file: string, report: Report): Running;
  close(): Promise<void>;
}

export interface Report {
  output(text: string): void;
  /** How the file ended: null when by itself and well, else a few words. Only the first call counts. */
  end(exit: string | null): void;
}

export interface Running {
  /** Ends the file and all it has started, at once. */
  kill(): void;
}
