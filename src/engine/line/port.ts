/** What crosses between the caller's thread and a worker of any kind, as types. `C` maps the names of calls to functions. */
import type { LaneControl } from '../../device/wasm/control.ts';
import type { WireError } from './wire-error.ts';

/** Calls that a worker answers, as functions that it might have. */
export type Calls<C> = { readonly [K in keyof C]: (...args: never[]) => unknown };
export type CallName<C extends Calls<C>> = keyof C & string;
export type CallArguments<C extends Calls<C>, K extends CallName<C>> = Parameters<C[K]>;
export type CallResult<C extends Calls<C>, K extends CallName<C>> = Awaited<ReturnType<C[K]>>;

/** A model target without what cannot be cloned. */
export type WireTarget = string | Uint8Array | Blob | Readonly<Record<string, Uint8Array | Blob>>;
/** Names of callbacks: `onProgress`, and not `onlyYes`. */
type CallbackName<K> = K extends `on${infer R}` ? (R extends Capitalize<R> ? K : never) : never;
/** Options less what stays with the caller: the signal crosses as a message, callbacks as events. */
export type Data<T> = Omit<T, 'signal' | CallbackName<keyof T>>;

/** An answer. Errors are data, since Comlink would keep no more of them than their text. */
export type Envelope<T> = { readonly value: T } | { readonly error: WireError };

/** The worker's side of the line. */
export interface WorkerPort<C extends Calls<C>> {
  call<K extends CallName<C>>(
    id: number,
    name: K,
    args: CallArguments<C, K>,
    /** Names of options that are callbacks: each is called by an event. */
    callbacks: readonly string[],
    /** Numbers of what the call works on: it ends when one of them is closed. */
    owners: readonly number[],
  ): Promise<Envelope<CallResult<C, K>>>;
  /** Aborts a call, or a stream, by its number. */
  abort(id: number): void;
}

/** A message apart from calls: the worker computes, and cannot hear what it is sent. See `runtime/host/heartbeat.ts`. */
export interface Heartbeat {
  readonly heartbeat: true;
}

/** A lane to be started by the caller. */
export interface LentLane {
  readonly control: LaneControl;
  /** Brings it its seat. */
  readonly port: MessagePort;
}

/** The caller's side of the line. */
export interface CallerPort {
  /** A callback of a call that is not settled; resolves when what it has returned has. */
  event(id: number, name: string, args: readonly Envelope<unknown>[]): Promise<void>;
  /** Starts a lane; resolves when it runs. */
  spawnLane(lane: LentLane): Promise<void>;
}

/** A port on the other side of a line. */
export type Remote<T> = {
  [K in keyof T]: T[K] extends (...args: infer A) => infer R ? (...args: A) => Promise<Awaited<R>> : never;
};
