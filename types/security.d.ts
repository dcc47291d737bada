// Messages between processes and what processes may do.

import type { Duration, Size } from './units';

export interface IPCConfig {
  /** Encrypt what crosses the channel. @default false */
  encryption?: boolean;
  /** 32 bytes as hex or base64, or a passphrase of at least 16 characters. In a worker: the primary's. */
  key?: string | undefined;
  /** How long an answer may take. @default 30000 */
  timeout?: Duration;
  /** Largest message. @default '1MB' */
  maxMessageSize?: Size;
  /** `advanced` carries Map, Date, Buffer and the like. @default 'json' */
  serialization?: 'json' | 'advanced';
  /** Most unanswered messages a worker. @default 10000 */
  maxPending?: number;
}

/** Who may send what to whom: ids of workers, or `'primary'`. What is left out means anybody, or anything. */
export interface IPCRule {
  from?: string | string[];
  to?: string | string[];
  types?: string | string[];
}

export interface SecurityConfig {
  /** Keep workers apart from each other's memory and files. Refused by this version. @default false */
  isolateWorkers?: boolean;
  /** Restrict system calls and the file system. Refused by this version. @default false */
  sandbox?: boolean;
  /** Modules that workers may load, or may not. Refused by this version. */
  modules?: {
    /** With a list all others are refused. */
    allow?: string[];
    deny?: string[];
  };
  ipc?: {
    /** Without a list everybody may; with one, nobody else. */
    allow?: IPCRule[];
    /** A JSON schema for each message type. */
    schemas?: Record<string, object>;
  };
  /** Synonym of `ipc.encryption`. */
  encryptIPC?: boolean;
  /** File that every message is recorded in. */
  auditLog?: string;
}

export interface CacheConfig {
  /** @default '64MB' */
  maxSize?: Size;
  maxEntries?: number;
  /** Life of an entry that is set without one; without this, for ever. */
  defaultTtl?: Duration;
  /** Fills the cache before the first worker is ready. */
  warm?: (cache: Cache) => void | Promise<void>;
}

export interface CacheStats {
  hits: number;
  misses: number;
  entries: number;
  /** Bytes. */
  size: number;
  evictions: number;
}

/** One cache for all workers. Values are what JSON can carry. */
export interface Cache {
  get<T = unknown>(key: string): T | undefined;
  set(key: string, value: unknown, options?: { ttl?: Duration }): Promise<void>;
  delete(key: string): Promise<boolean>;
  increment(key: string, by?: number): Promise<number>;
  /** Removes the keys that a glob such as `user:*` matches and resolves to their number. */
  invalidate(pattern: string): Promise<number>;
  stats(): CacheStats;
}
