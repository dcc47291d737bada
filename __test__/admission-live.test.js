'use strict';

// updateConfig() turns adaptive admission on and off and changes it while the cluster runs, wherever it works.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const http2 = require('node:http2');
const { test } = require('node:test');
const { createCertificate } = require('./helpers/certificate');
const { request } = require('./helpers/http');
const { RawClient, TARGET, start } = require('./helpers/overload');

const ON = { targetDelay: TARGET, exempt: ['/vital'] };

/** Clients that count what they see by status; `ask` makes one request. Resolves when their number of responses has grown. */
class Load {
  seen = {};
  #isOver = false;
  #waiting = [];

  constructor(count, ask) {
    const client = async (nth) => {
      while (!this.#isOver) {
        const status = await ask(nth);
        this.seen[status] = (this.seen[status] ?? 0) + 1;
        for (const look of this.#waiting) look();
      }
    };
    this.over = Promise.all(Array.from({ length: count }, (_, nth) => client(nth)));
    this.over.catch(() => {});
  }

  /** Resolves once there are `more` responses with this status than now. */
  async more(status, more) {
    const enough = (this.seen[status] ?? 0) + more;
    const found = new Promise((resolve) => {
      const look = () => (this.seen[status] ?? 0) >= enough && resolve();
      this.#waiting.push(look);
    });
    await Promise.race([found, this.over.then(() => assert.fail('the load has ended'))]);
    this.#waiting = [];
  }

  end() {
    this.#isOver = true;
    return this.over;
  }
}

/** A request on a new connection each; 'closed' if it ends without a response. */
const fresh = (port, secure) => () =>
  request(port, { path: '/work?ms=10', secure }).then(
    ({ status }) => status,
    (error) => closed(error, secure),
  );

function closed(error, secure) {
  // Without HTTP a refused connection is closed.
  if (secure && error.code === 'ECONNRESET') return 'closed';
  throw error;
}

/** A request on the client's connection, a new one if that has ended. */
function kept(port, secure) {
  const clients = [];
  return async (nth) => {
    clients[nth] ??= new RawClient(port, secure);
    try {
      const [response] = await clients[nth].ask('GET /work?ms=10 HTTP/1.1\r\nHost: a\r\n\r\n');
      if (/^connection: close\r$/im.test(response?.head ?? 'connection: close\r')) clients[nth] = undefined;
      return response?.status ?? 'closed';
    } catch (error) {
      clients[nth] = undefined;
      return closed(error, secure);
    }
  };
}

/** A stream of one session. */
function streams(port) {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  return async () => {
    const stream = session.request({ ':path': '/work?ms=10' });
    stream.resume().end();
    const [headers] = await once(stream, 'response');
    await once(stream, 'close');
    return headers[':status'];
  };
}

const WAYS = {
  'new connections': { ask: fresh, refusal: 503 },
  'new connections in direct mode': { ask: fresh, refusal: 503, given: { more: { dispatch: 'direct' } } },
  'new connections with TLS': { ask: fresh, refusal: 'closed', kind: 'https' },
  'kept connections': { ask: kept, refusal: 503, given: { workers: 1 } },
  'kept connections with TLS': { ask: kept, refusal: 503, kind: 'https', given: { workers: 1 } },
  'streams of HTTP/2': { ask: streams, refusal: 503, kind: 'http2', given: { workers: 1 } },
};

for (const [name, { ask, refusal, kind = 'http', given }] of Object.entries(WAYS)) {
  test(`off, on, and off again under overload: ${name}`, async (t) => {
    const { key, cert } = createCertificate();
    const { port, run, order, metrics } = await start(t, { admission: 'off', kind, certificate: { key, cert }, ...given });
    const turn = (admission) => order('updateConfig', { loadBalancing: { admission } });
    const load = new Load(24, ask(port, kind === 'https'));
    await load.more(200, 40);
    assert.deepEqual(Object.keys(load.seen), ['200'], 'nothing is refused');
    assert.equal(await turn(ON), null);
    await load.more(refusal, 24);
    await load.more(200, 24);
    assert.equal(await turn('off'), null);
    // What was refused before it was off may still arrive: two responses of each client.
    await load.more(200, 48);
    const before = { ...load.seen };
    await load.more(200, 40);
    assert.deepEqual({ ...load.seen, 200: 0 }, { ...before, 200: 0 }, 'nothing is refused any more');
    assert.equal(await turn(ON), null);
    await load.more(refusal, 24);
    await load.end();
    const allowed = refusal === 503 ? ['200', '503'] : ['200', '503', 'closed'];
    assert.deepEqual(Object.keys(load.seen).filter((status) => !allowed.includes(status)), []);
    assert.equal((await metrics()).totalErrors, 0);
    assert.ok(run.events('overload:began').length >= 1);
  });
}

test('another targetDelay applies at once', async (t) => {
  const { port, order } = await start(t, { workers: 1, admission: { targetDelay: 60_000, exempt: [] } });
  const load = new Load(16, kept(port));
  await load.more(200, 40);
  assert.deepEqual(Object.keys(load.seen), ['200']);
  assert.equal(await order('updateConfig', { loadBalancing: { admission: ON } }), null);
  await load.more(503, 20);
  await load.end();
});

test('workers that start later have the new value', async (t) => {
  const { port, run, order } = await start(t, { workers: 1, admission: 'off' });
  assert.equal(await order('updateConfig', { loadBalancing: { admission: ON } }), null);
  const before = await run.event('worker:ready');
  assert.equal(await order('restartCluster'), null);
  await run.replacement(before.workerPid);
  const load = new Load(16, kept(port));
  await load.more(503, 20);
  await load.end();
});

test('what is no admission is refused, and nothing changes', async (t) => {
  const { order } = await start(t, { admission: 'off' });
  const { code } = await order('updateConfig', { loadBalancing: { admission: { targetDelay: 0 } } });
  assert.equal(code, 'CONFIGURATION_INVALID');
  const { code: other } = await order('updateConfig', { loadBalancing: { admission: ON, strategy: 'least-connections' } });
  assert.equal(other, 'RESTART_REQUIRED');
});
