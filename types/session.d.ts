// drover/session: the shared cache, or with a fleet Redis, as a store of express-session.

import { Store, type SessionData } from 'express-session';
import type { CacheSource } from './cache';
import type { Duration } from './units';

export interface SessionStoreOptions {
  /** Lifetime of sessions whose cookie has no end of its own. @default '1d' */
  ttl?: Duration;
  /** Begins the keys of this store's sessions. Without `*`. @default '' */
  prefix?: string;
}

/**
 * `session({ store: new DroverStore(app) })`: all processes of a cluster have the same sessions, and with `redis` in the
 * configuration those of all machines. What a request writes for a session that it has loaded replaces only a session that
 * is still there, and a request that has not changed it gives it a new lifetime alone. Without a callback the methods
 * return promises.
 *
 * While Redis is away: with `redis.onFailure: 'refuse'` every method fails with the code `FLEET_UNAVAILABLE`; with 'local'
 * this machine goes on with the sessions that it knows, and only `all`, `length` and `clear` fail. Those fail in a Redis
 * Cluster too.
 */
export class DroverStore extends Store {
  /** An app or its cache: the namespace `sessions` of it is used; a namespace of the cache is used itself. */
  constructor(source: CacheSource, options?: SessionStoreOptions);
  get(id: string): Promise<SessionData | undefined>;
  get(id: string, callback: (error: any, session?: SessionData | null) => void): void;
  set(id: string, session: SessionData): Promise<void>;
  set(id: string, session: SessionData, callback?: (error?: any) => void): void;
  /** Gives a session that is there the cookie of `session`, and with it its lifetime. */
  touch(id: string, session: SessionData): Promise<void>;
  touch(id: string, session: SessionData, callback?: (error?: any) => void): void;
  destroy(id: string): Promise<void>;
  destroy(id: string, callback?: (error?: any) => void): void;
  /** The sessions by their ids. */
  all(): Promise<Record<string, SessionData>>;
  all(callback: (error: any, sessions?: SessionData[] | { [id: string]: SessionData } | null) => void): void;
  length(): Promise<number>;
  length(callback: (error: any, length?: number) => void): void;
  clear(): Promise<void>;
  clear(callback?: (error?: any) => void): void;
}
