// Messages between the primary and the workers.

import type { ErrorCode } from './errors';
import type { Duration, Timestamp } from './units';

/** A message as a handler of `registerHandler` gets it. */
export interface IPCMessage {
  id: string;
  type: string;
  data: any;
  timestamp: Timestamp;
  /** `fleet`: a process of another machine. */
  from: 'master' | 'worker' | 'fleet';
  /** Id of the sending worker. */
  workerId?: string;
  /** Id of the sending machine, if it is another one. */
  machine?: string;
  /** Id of the receiving worker. */
  to?: string;
  correlationId?: string;
}

/** The result of a message to one worker. */
export interface IPCResponse {
  id: string;
  /** Id of the request. */
  correlationId: string;
  /** Undefined if a machine has not answered at all. */
  workerId?: string;
  /** With `scope: 'fleet'`: id of the machine, if it is another one. */
  machine?: string;
  /** Whether its handlers ran. */
  success: boolean;
  /** The result of the handler of its type. */
  data?: any;
  /** Why it failed. */
  error?: string;
  code?: ErrorCode;
  timestamp: Timestamp;
}

export interface MessageOptions {
  /** How long the response may take. Default: `ipc.timeout`. */
  timeout?: Duration;
}

export interface BroadcastOptions extends MessageOptions {
  /** In a worker: deliver the message to this worker too. @default false */
  self?: boolean;
  /**
   * `fleet`: to the workers of all machines. Without Redis one more response says so (`FLEET_UNAVAILABLE`). @default
   * 'cluster'
   */
  scope?: 'cluster' | 'fleet';
}

/** The returned value, or the value of the returned promise, is the response. */
export type MessageHandler = (data: any, message: IPCMessage) => unknown;

/** Like {@link MessageHandler}, but called with the message only. */
export type IPCHandler = (message: IPCMessage) => unknown;

/** Sends messages; the same in the primary and in every worker. Rejects with `WorkerCommunicationError`. */
export interface Messaging {
  /** Every worker's `process.on('message')` gets exactly `message`. Resolves to one response per worker. */
  broadcastToWorkers(message: object, options?: BroadcastOptions): Promise<IPCResponse[]>;
  /** The same with `{ type, data }`. */
  broadcastToWorkers(type: string, data: unknown, options?: BroadcastOptions): Promise<IPCResponse[]>;
  /** Resolves to the handler's result. */
  sendToWorker(workerId: string | number, message: object, options?: MessageOptions): Promise<any>;
  sendToWorker(workerId: string | number, type: string, data: unknown, options?: MessageOptions): Promise<any>;
  /** To any healthy worker. */
  sendToRandomWorker(message: object, options?: MessageOptions): Promise<any>;
  sendToRandomWorker(type: string, data: unknown, options?: MessageOptions): Promise<any>;
  sendToPrimary(message: object, options?: MessageOptions): Promise<any>;
  sendToPrimary(type: string, data: unknown, options?: MessageOptions): Promise<any>;
  /** Synonym of `sendToPrimary`. */
  sendToMaster(message: object, options?: MessageOptions): Promise<any>;
  sendToMaster(type: string, data: unknown, options?: MessageOptions): Promise<any>;
  /** Handles the messages of a type in this process; throws `HANDLER_EXISTS` if the type has a handler. */
  onMessage(type: string, handler: MessageHandler): void;
  /** The same, for handlers that are called with the message only. */
  registerHandler(type: string, handler: IPCHandler): void;
  unregisterHandler(type: string): void;
}

declare global {
  namespace NodeJS {
    interface Process {
      /** The shape of a message is up to the application. */
      on(event: 'message', listener: (message: any, sendHandle?: unknown) => void): this;
    }
  }
}
