// The cache that all processes of a cluster share.

import type { EventEmitter } from 'node:events';
import type { Duration, Size } from './units';

export interface CacheConfig {
  /**
   * Memory of all entries together, 1 MB to 3 GB; a value is at most an eighth of it. `updateConfig` changes it while the
   * cluster runs. @default '64MB'
   */
  maxSize?: Size;
  /** Default: any number. */
  maxEntries?: number;
  /** Lifetime of entries that are set without `ttl`. Default: unlimited. */
  defaultTtl?: Duration;
  /** How long after its lifetime `getOrSet` may use a value while it computes a new one. @default 0 */
  grace?: Duration;
  /**
   * The last part of a value's lifetime, 0 to 0.9, in which `getOrSet` computes it anew at a random time, while the value
   * is still used. @default 0
   */
  earlyRefresh?: number;
  /**
   * How values that are neither text nor Buffers are stored: `advanced` is the structured clone (Map, Date, BigInt).
   * @default 'json'
   */
  serialization?: 'json' | 'advanced';
  /**
   * A file that keeps the values over a restart of the primary: written when the cluster has stopped, read at the first use,
   * for its owner alone. A file that is not whole is not read, and the log says so. Values that are too large for a smaller
   * cache are not read.
   */
  persist?: string;
  /**
   * Fills the cache: once in the cluster's life, in one worker. If it fails that is logged, and the next worker that starts
   * runs it again.
   */
  warm?: (cache: Cache) => void | Promise<void>;
  /** Servers listen, and workers are ready, only when `warm` is done or has failed. @default false */
  warmBeforeReady?: boolean;
}

export interface CacheSetOptions {
  /** Default: `cache.defaultTtl`; 0: unlimited. */
  ttl?: Duration;
  /** How long after its lifetime `getOrSet` may use the value. Default: `cache.grace`. */
  grace?: Duration;
  /** For `invalidateTags`. */
  tags?: string[];
}

export interface CacheGetOrSetOptions extends CacheSetOptions {
  /** How long to wait for a new value while there is a stale one. @default 0 */
  timeout?: Duration;
  /**
   * How long to wait for a value while there is none; then the promise rejects with `CACHE_TIMEOUT`, and the computation
   * goes on. Default: unlimited.
   */
  hardTimeout?: Duration;
}

/**
 * The figures of a namespace in the whole cluster since its start; other processes' looks of the last second may be
 * missing. Namespaces beyond the first 63 share one set of figures.
 */
export interface CacheStats {
  /** Looks that found a value: `nearHits` and `farHits`. */
  hits: number;
  /** In what the process had read or written before. */
  nearHits: number;
  /** In the shared memory. */
  farHits: number;
  misses: number;
  /** Values computed by `getOrSet`. */
  computed: number;
  /** Callers of `getOrSet` that got a value that was being computed. */
  waited: number;
  /** Values that are there now. */
  entries: number;
  /** Memory of the values that are there, with their keys. */
  bytes: number;
  sets: number;
  /** Removed for lack of room. */
  evicted: number;
  /** Removed after their lifetime. */
  expired: number;
  /** Removed by patterns and tags. */
  invalidated: number;
  /** Too large, or without room. */
  refused: number;
}

export interface CacheEvents {
  /** `get` or `getOrSet` of this process has found a value. */
  hit: [key: string];
  miss: [key: string];
  /** A value of this namespace was removed for lack of room, whoever wrote it. */
  evicted: [key: string];
  /** Values were removed by a pattern of this namespace, or (told by `app.cache`) by a tag, by whatever process. */
  invalidated: [what: { pattern: string; count: number } | { tag: string; count: number }];
  /** So many of the two events above were not told, because this process did not read them in time; by `app.cache`. */
  dropped: [count: number];
  /**
   * A value was not stored and nobody awaited `set`, or a computation in the background has failed. Without a listener the
   * first failure is printed.
   */
  error: [error: Error];
}

/**
 * One cache for all processes of a cluster, or for one process without a cluster. Values are texts, Buffers and what JSON
 * (`cache.serialization: 'advanced'`: the structured clone) can represent; each look returns a new value.
 *
 * A process sees its own `set` and `delete` at once, other processes after some 20 microseconds; when the promise of a
 * call has resolved, all of them see it. A look costs no call into native code for what this process has read before.
 * Errors: `INVALID_ARGUMENT`, and `STOPPED` when the primary has ended.
 */
export interface Cache extends EventEmitter<CacheEvents> {
  /** The name of this namespace; '' for the one of `app.cache`. */
  readonly name: string;
  /** undefined: there is no value, or its lifetime is over. A counter is a number. */
  get<T = any>(key: string): T | undefined;
  /** The values of several keys, in their order. */
  getMany<T = any>(keys: string[]): (T | undefined)[];
  has(key: string): boolean;
  /** When the value's lifetime ends, in milliseconds since 1970. Infinity: never; undefined: there is no value. */
  expiresAt(key: string): number | undefined;
  /**
   * The keys of this namespace, in no order. A key that has a value during all of the listing is listed once; one that gets
   * or loses its value meanwhile may be listed. The whole cache is read for it, in parts of some milliseconds, between
   * which the event loop runs.
   */
  keys(): AsyncGenerator<string, void>;
  /**
   * Stores a value. The result need not be awaited; a key has at most 4096 characters with its namespace. Rejects with
   * `INVALID_ARGUMENT` if key or value are too large; what the key had before is gone then.
   */
  set(key: string, value: unknown, options?: CacheSetOptions): Promise<void>;
  /**
   * The value of the key, or that of `factory`, which runs once in the whole cluster while all others wait for it. If its
   * process dies or it fails, another process runs its own; its error rejects the promise of its caller. A stale value
   * within its `grace` is returned meanwhile. undefined is not stored, null is.
   */
  getOrSet<T>(key: string, factory: (key: string) => T | Promise<T>, options?: CacheGetOrSetOptions): Promise<T>;
  /** Resolves to whether the key had a value, also a stale one. */
  delete(key: string): Promise<boolean>;
  /**
   * Adds a whole number, and resolves to the new count; a new key begins with 0. `ttl` applies to a new key. No increment
   * of any process is lost.
   */
  increment(key: string, by?: number, options?: CacheSetOptions): Promise<number>;
  decrement(key: string, by?: number, options?: CacheSetOptions): Promise<number>;
  /**
   * Sets the value if the key has exactly the expected one (undefined: none); resolves to whether it had. Values are
   * compared as they are stored: members of objects in their order.
   */
  compareAndSet(key: string, expected: unknown, value: unknown, options?: CacheSetOptions): Promise<boolean>;
  /** Removes the keys of this namespace that match a pattern, in which `*` stands for any text; resolves to their number. */
  invalidate(pattern: string): Promise<number>;
  /** Removes the entries of all namespaces that have one of the tags; resolves to their number. */
  invalidateTags(tags: string | string[]): Promise<number>;
  /** Removes all keys of this namespace; resolves to their number. */
  clear(): Promise<number>;
  /** A part of the cache with keys of its own; the name must not contain `*`. */
  namespace(name: string): Cache;
  stats(): Promise<CacheStats>;
}

/** What adapters take: an app of drover, its cache, or a namespace of that. */
export type CacheSource = Cache | { readonly cache: Cache };
