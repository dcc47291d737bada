// The adapters for other packages, as programs use them.

import { createServer } from 'drover';
import { fastifyHttpCache, httpCache, koaHttpCache } from 'drover/http-cache';
import { DroverStore as KeyvStore } from 'drover/keyv';
import fastify from 'fastify';
import Keyv from 'keyv';

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
