// drover/http-cache: an HTTP cache (RFC 9111) that all processes of a cluster share.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CacheSource } from './cache';
import type { Duration } from './units';

export interface HttpCacheOptions {
  /** Bytes. Larger bodies are not stored; an eighth of `cache.maxSize` is the limit anyway. @default 1048576 */
  maxBodySize?: number;
  /**
   * How long a request waits for the response to another one of the same kind, before its own is made. @default '10s'
   */
  wait?: Duration;
  /**
   * The part of the time since its Last-Modified for which a response is fresh that does not say how long it is, such as
   * 0.1; at most a day. 0: such responses are not stored as fresh. @default 0
   */
  heuristic?: number;
  /** How long a stale response with ETag or Last-Modified is kept, to be validated. @default '1h' */
  keepForValidation?: Duration;
  /** false: Cache-Control and Pragma of requests are ignored, so that no client can ask for a new response. @default true */
  requestDirectives?: boolean;
  /** Answers from the cache have the field Cache-Status (RFC 9211). @default false */
  cacheStatus?: boolean;
  /** Requests that the cache leaves alone. */
  skip?: (request: IncomingMessage) => boolean;
}

/**
 * A middleware of Express, or of anything that calls `(request, response, next)`.
 *
 * @param source an app or its cache, of which the namespace `http-cache` is used; or a namespace of the cache
 */
export function httpCache(source: CacheSource, options?: HttpCacheOptions): (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void) => void;

/** A middleware of Koa; `source` as of `httpCache`. */
export function koaHttpCache(source: CacheSource, options?: HttpCacheOptions): (context: any, next: () => Promise<any>) => Promise<any>;

/** A plugin of Fastify: `fastify.register(fastifyHttpCache, { cache: app.cache })`. */
export function fastifyHttpCache(fastify: any, options: HttpCacheOptions & { cache: CacheSource }): Promise<void>;
