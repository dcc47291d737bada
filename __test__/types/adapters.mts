// The adapters for other packages, as programs use them.

import { createServer } from 'drover';
import { DroverStore as KeyvStore } from 'drover/keyv';
import Keyv from 'keyv';

const app = createServer({ cluster: { enabled: true } });

const keyv: Keyv<number> = new Keyv({ store: new KeyvStore(app.cache), ttl: 1000 });
const count: number | undefined = await keyv.get('count');
await keyv.set('count', (count ?? 0) + 1);
new Keyv(new KeyvStore(app.cache.namespace('counts')));
new Keyv(new KeyvStore(app));
// @ts-expect-error A store is made of a cache.
new KeyvStore();
