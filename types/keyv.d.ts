// drover/keyv: the shared cache as a storage adapter of Keyv 5.

import type { EventEmitter } from 'node:events';
import type { KeyvStoreAdapter, StoredData } from 'keyv';
import type { CacheSource } from './cache';

/**
 * A storage adapter: `new Keyv({ store: new DroverStore(app) })`. All processes of a cluster have the same values.
 * Failures reject with the codes of the cache.
 */
export class DroverStore extends EventEmitter implements KeyvStoreAdapter {
  /** An app or its cache: the namespace `keyv` of it is used; a namespace of the cache is used itself. */
  constructor(source: CacheSource);
  /** Read by Keyv. */
  opts: { dialect: string; url: string };
  /** Set by the Keyv that uses the store; `clear` removes the keys that begin with it and a colon. */
  namespace?: string | undefined;
  get<Value>(key: string): Promise<StoredData<Value> | undefined>;
  getMany<Value>(keys: string[]): Promise<Array<StoredData<Value | undefined>>>;
  has(key: string): Promise<boolean>;
  hasMany(keys: string[]): Promise<boolean[]>;
  /** `ttl` in milliseconds. Default: `cache.defaultTtl`. Resolves when all processes see the value. */
  set(key: string, value: any, ttl?: number): Promise<void>;
  /** Resolves to whether each was stored; a failure is an `error` event too. */
  setMany(entries: Array<{ key: string; value: any; ttl?: number }>): Promise<any>;
  delete(key: string): Promise<boolean>;
  /** Resolves to whether all of them had values. */
  deleteMany(keys: string[]): Promise<boolean>;
  clear(): Promise<void>;
  /** The keys that begin with the namespace and a colon, and their values as they are stored; the order is any. */
  iterator<Value>(namespace?: string): AsyncGenerator<Array<string | Awaited<Value> | undefined>, void>;
}
