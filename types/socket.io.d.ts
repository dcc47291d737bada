// drover/socket.io: an adapter of Socket.IO 4 between the workers of a cluster.

import type { ClusterAdapterOptions, ClusterAdapterWithHeartbeat } from 'socket.io-adapter';
import type { Cache } from './cache';
import type { Messaging } from './messages';

export type { ClusterAdapterOptions };

/**
 * An adapter for `new Server(server, { adapter: createAdapter(app) })`. With `connectionStateRecovery` the sessions and the
 * packets are kept in the namespace `socket.io` of the app's cache.
 *
 * @param app an app of drover
 * @param options how often adapters say that they are there, and after which silence they are taken for gone
 */
export function createAdapter(app: Messaging & { readonly cache: Cache }, options?: Partial<ClusterAdapterOptions>): (namespace: any) => ClusterAdapterWithHeartbeat;
