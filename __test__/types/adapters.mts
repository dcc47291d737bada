// The adapters for other packages, as programs use them.

import { createServer } from 'drover';
import { fastifyHttpCache, httpCache, koaHttpCache } from 'drover/http-cache';
import { DroverStore as KeyvStore } from 'drover/keyv';
import { DroverStore as RateLimitStore } from 'drover/rate-limit';
import { RateLimiterDrover } from 'drover/rate-limit/flexible';
import { DroverStore as SessionStore } from 'drover/session';
import { createAdapter } from 'drover/socket.io';
import { rateLimit } from 'express-rate-limit';
import session from 'express-session';
import fastify from 'fastify';
import Keyv from 'keyv';
import { BurstyRateLimiter, type RateLimiterRes } from 'rate-limiter-flexible';
import { Server } from 'socket.io';

const app = createServer({ cluster: { enabled: true } });

const keyv: Keyv<number> = new Keyv({ store: new KeyvStore(app.cache), ttl: 1000 });
const count: number | undefined = await keyv.get('count');
await keyv.set('count', (count ?? 0) + 1);
new Keyv(new KeyvStore(app.cache.namespace('counts')));
new Keyv(new KeyvStore(app));
// @ts-expect-error A store is made of a cache.
new KeyvStore();

app.use(httpCache(app, { wait: '5s', skip: (request) => request.headers.cookie !== undefined }));
fastify().register(fastifyHttpCache, { cache: app.cache.namespace('pages'), maxBodySize: 1000 });
const answer: Promise<unknown> = koaHttpCache(app.cache)({}, async () => {});
await answer;
// @ts-expect-error The number of bytes is no text.
httpCache(app, { maxBodySize: '1MB' });

app.use(rateLimit({ windowMs: 60_000, limit: 100, store: new RateLimitStore(app) }));
app.use(rateLimit({ store: new RateLimitStore(app.cache, { prefix: 'login:', window: 'sliding' }) }));
// @ts-expect-error There are two kinds of windows.
new RateLimitStore(app, { window: 'open' });

const limiter = new RateLimiterDrover({ storeClient: app, points: 10, duration: 1, blockDuration: 60 });
const { remainingPoints }: RateLimiterRes = await limiter.consume('key', 2);
new BurstyRateLimiter(limiter, new RateLimiterDrover({ storeClient: app.cache, keyPrefix: 'burst', points: remainingPoints, duration: 10 }));
// @ts-expect-error The points are in a cache.
new RateLimiterDrover({ storeClient: {}, points: 10, duration: 1 });

app.use(session({ secret: 'a secret', store: new SessionStore(app), resave: false, saveUninitialized: false }));
const sessions = new SessionStore(app.cache.namespace('sessions'), { ttl: '2h', prefix: 'admin:' });
sessions.get('id', (error, found) => error === null && found?.cookie.path);
const path: string | undefined = (await sessions.get('id'))?.cookie.path;
await sessions.destroy(path ?? 'id');
// @ts-expect-error A lifetime is a duration.
new SessionStore(app, { ttl: {} });

new Server(3001, { adapter: createAdapter(app), connectionStateRecovery: {} });
createAdapter(app, { heartbeatTimeout: 20_000 });
// @ts-expect-error The adapter sends messages of an app.
createAdapter(app.cache);
