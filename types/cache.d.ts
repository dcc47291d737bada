// The cache that all processes of a cluster share.

import type { EventEmitter } from 'node:events';
import type { Duration, Size } from './units';

export interface CacheConfig {
  /** Memory of all entries together, 1 MB to 3 GB; a value is at most an eighth of it. @default '64MB' */
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
  /** Fills the cache before the first worker is ready. Refused by this version. */
  warm?: (cache: Cache) => void | Promise<void>;
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

/** Looks of this process at this namespace since its start. */
export interface CacheStats {
  hits: number;
  misses: number;
}

export interface CacheEvents {
  /** `get` or `getOrSet` of this process has found a value. */
  hit: [key: string];
  miss: [key: string];
  /**
   * A value was not stored and nobody awaited `set`, or a computation in the background has failed. Without a listener the
   * first failed write is printed.
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
  /** Resolves to whether the key had a value. */
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
  stats(): CacheStats;
}
