// Messages between the primary and the workers.

import type { ErrorCode } from './errors';
import type { Duration, Timestamp } from './units';

/** A message as a handler of `registerHandler` sees it. */
export interface IPCMessage {
  id: string;
  type: string;
  data: any;
  timestamp: Timestamp;
  from: 'master' | 'worker';
  /** Id of the worker it is from. */
  workerId?: string;
  /** Id of the worker it is for. */
  to?: string;
  correlationId?: string;
}

/** What became of a message at one worker. */
export interface IPCResponse {
  id: string;
  /** Of the question. */
  correlationId: string;
  workerId: string;
  /** Whether its handlers ran. */
  success: boolean;
  /** What the handler of its type answered. */
  data?: any;
  /** Why not. */
  error?: string;
  code?: ErrorCode;
  timestamp: Timestamp;
}

export interface MessageOptions {
  /** How long the answer may take; without one, `ipc.timeout`. */
  timeout?: Duration;
}

export interface BroadcastOptions extends MessageOptions {
  /** From a worker: to the sender as well. @default false */
  self?: boolean;
}

/** The value returned, or what its promise resolves to, is the answer. */
export type MessageHandler = (data: any, message: IPCMessage) => unknown;

/** As {@link MessageHandler}, with the message alone. */
export type IPCHandler = (message: IPCMessage) => unknown;

/** Sends messages; the same in the primary and in every worker. Rejects with `WorkerCommunicationError`. */
export interface Messaging {
  /** Every worker's `process.on('message')` gets exactly `message`. Resolves to one response a worker. */
  broadcastToWorkers(message: object, options?: BroadcastOptions): Promise<IPCResponse[]>;
  /** The same with `{ type, data }`. */
  broadcastToWorkers(type: string, data: unknown, options?: BroadcastOptions): Promise<IPCResponse[]>;
  /** Resolves to the handler's answer. */
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
  /** Answers the messages of a type in this process; throws `HANDLER_EXISTS` when the type has a handler. */
  onMessage(type: string, handler: MessageHandler): void;
  /** The same, for handlers that want the message alone. */
  registerHandler(type: string, handler: IPCHandler): void;
  unregisterHandler(type: string): void;
}

declare global {
  namespace NodeJS {
    interface Process {
      /** The messages are the app's own, so their shape is too. */
      on(event: 'message', listener: (message: any, sendHandle?: unknown) => void): this;
    }
  }
}
