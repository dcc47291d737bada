// Messages between processes, security.

import type { Duration, Size } from './units';

export interface IPCConfig {
  /** Encrypt and authenticate all messages between processes. @default false */
  encryption?: boolean;
  /** 32 bytes as hex or base64, or a passphrase of at least 16 characters. In a worker: the primary's. */
  key?: string | undefined;
  /** How long a response may take. @default 30000 */
  timeout?: Duration;
  /** Largest message. @default '1MB' */
  maxMessageSize?: Size;
  /** `advanced` is the structured clone (Map, Date, BigInt, typed arrays). @default 'json' */
  serialization?: 'json' | 'advanced';
  /** Maximum number of pending requests per worker. @default 10000 */
  maxPending?: number;
}

/**
 * Allowed messages: sender and receiver (`'primary'`, `'worker'` for any worker, or a worker id) and types. An omitted
 * key matches all.
 */
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
  limits?: {
    /**
     * Processes and threads of a worker with its own children, where control groups can be made; the log says where they
     * cannot. A runtime itself has about a dozen threads.
     */
    processes?: number;
  };
  /** Modules that workers may or may not load. Refused by this version. */
  modules?: {
    /** If given, all other modules are refused. */
    allow?: string[];
    deny?: string[];
  };
  ipc?: {
    /** If given, messages that match no rule are refused. */
    allow?: IPCRule[];
    /** A JSON schema for each message type. */
    schemas?: Record<string, object>;
  };
  /** Synonym of `ipc.encryption`. */
  encryptIPC?: boolean;
  /** File with a record of every message. */
  auditLog?: string;
}
