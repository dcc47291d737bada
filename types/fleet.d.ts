// `app.fleet`: the machines that run this program, joined by Redis.

import type { EventEmitter } from 'node:events';
import type { Timestamp } from './units';

/** A machine of a fleet. */
export interface FleetMember {
  /** Of this run of its primary. */
  id: string;
  host: string;
  /** Of its primary. */
  pid: number;
  /** The name of the program's file. */
  script: string;
  /** Of drover. */
  version: string;
  startedAt: Timestamp;
  /** As of its last heartbeat, at most some seconds ago; null without a cluster. */
  figures: FleetFigures | null;
}

export interface FleetFigures {
  /** Workers that serve. */
  workers: number;
  status: 'healthy' | 'degraded' | 'critical';
  requestsPerSecond: number;
  /** Milliseconds. */
  p99: number;
  /** A fraction. */
  errorRate: number;
  /** Percent of what the workers can use. */
  cpuUsage: number;
  /** Bytes. */
  memoryUsage: number;
  activeConnections: number;
  /** Milliseconds. */
  eventLoopLag: number;
}

/** What a task of `runOnce` with `scope: 'fleet'` gets. */
export interface FleetLead {
  /**
   * The fencing token: higher than that of every leader before. Pass it to what the task changes, which refuses a lower one
   * than it has seen: a process that was stopped for longer than its lease may not know yet that another one leads.
   */
  token: number;
  /** Aborted when this machine no longer leads. */
  signal: AbortSignal;
}

/** Without `redis` in the configuration this machine is the whole fleet. */
export interface Fleet extends EventEmitter {
  /** Of this machine; '' before it has joined. */
  readonly id: string;
  /** Redis does what is asked. */
  readonly isAvailable: boolean;
  /**
   * Whether this process leads: the worker that leads its cluster, in the machine that leads the fleet. In the primary: whether
   * this machine leads.
   */
  readonly isLeader: boolean;
  /** The fencing token of this machine's lease; null if it does not lead. */
  readonly token: number | null;
  /** The machines that live. Rejects with `FLEET_UNAVAILABLE` while Redis cannot be reached. */
  members(): Promise<FleetMember[]>;

  on(event: 'joined' | 'left', listener: (member: FleetMember) => void): this;
  on(event: 'available' | 'unavailable', listener: () => void): this;
  /** This machine leads now, or no longer. */
  on(event: 'leader', listener: (lead: { isLeader: boolean; token: number | null }) => void): this;
  on(event: string | symbol, listener: (...args: any[]) => void): this;
}

export interface RedisTlsOptions {
  /** As with the scheme `rediss`; `ca` and `cert` do the same. @default false */
  enabled?: boolean;
  /** The certificates of the authorities: a file, or PEM text. Default: those of the system. */
  ca?: string;
  /** The client's certificate: a file, or PEM text. */
  cert?: string;
  /** The client's key: a file, or PEM text. */
  key?: string;
}

export interface RedisOptions {
  /** true if any other option of Redis is given. @default false */
  enabled?: boolean;
  /** `redis://user:password@host:port/db`, `rediss://` with TLS, `unix:///path`; instead of `host` to `db`. */
  url?: string | undefined;
  /** @default 'localhost' */
  host?: string | undefined;
  /** @default 6379 */
  port?: number | string | undefined;
  /** Of its ACL. */
  username?: string | undefined;
  password?: string | undefined;
  /** @default 0 */
  db?: number;
  /** Sentinels, which know the server; instead of `host` and `port`. */
  sentinels?: (string | { host: string; port: number })[];
  /** The name of the server for the sentinels. @default 'mymaster' */
  master?: string;
  sentinelPassword?: string;
  /** Some nodes of a Redis Cluster; instead of `host` and `port`. */
  nodes?: (string | { host: string; port: number })[];
  tls?: boolean | RedisTlsOptions;
  /** Of all keys and channels: primaries with the same are one fleet. Default: `drover:<name in package.json>:`. */
  prefix?: string;
  /** Maximum time for which an operation waits for Redis. @default 250 */
  timeout?: number | string;
  /**
   * What sessions and limits do while Redis cannot be reached: go on with those of this machine, or fail with
   * `FLEET_UNAVAILABLE`. @default 'local'
   */
  onFailure?: 'local' | 'refuse';
}
