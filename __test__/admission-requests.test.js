'use strict';

// Adaptive admission in a worker, by the kind of request: each refusal is a whole response, in its turn.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const http2 = require('node:http2');
const { test } = require('node:test');
const { createCertificate } = require('./helpers/certificate');
const { RawClient, assertRefused, saturate, start } = require('./helpers/overload');

const get = (path, version = '1.1', headers = []) => [`GET ${path} HTTP/${version}`, 'Host: a', ...headers, '', ''].join('\r\n');
const upgrade = (path) => get(path, '1.1', ['Connection: Upgrade', 'Upgrade: websocket']);

/** A worker that is saturated until the test ends, and connections that it had before. */
async function saturated(t, { connections = 0, isSecure = false, ...given } = {}) {
  const started = await start(t, { workers: 1, ...given });
  const clients = Array.from({ length: connections }, () => new RawClient(started.port, isSecure));
  for (const client of clients) assert.equal((await client.ask(get('/vital')))[0].status, 200);
  const load = saturate(started.port, 16, isSecure);
  t.after(() => load.end());
  await started.run.event('overload:began');
  return { ...started, clients, load };
}

/** Calls `attempt` with one connection after the other until it is true: whether a request waits too long is chance. */
async function someOf(clients, attempt) {
  for (const client of clients) if (await attempt(client)) return;
  assert.fail(`none of ${clients.length} was refused`);
}

test('a pipelined request is refused in its turn: after the response to the request before it', async (t) => {
  const { clients, metrics } = await saturated(t, { connections: 1 });
  const [client] = clients;
  for (let refused = 0; refused < 3; ) {
    const paths = ['/vital?later=30&nth=1', '/work?ms=0&nth=2', '/vital?nth=3', '/work?ms=0&nth=4'];
    const responses = await client.ask(paths.map((path) => get(path)).join(''), 4);
    const [first, , third] = responses;
    assert.deepEqual([first.status, third.status], [200, 200]);
    responses.forEach((response, index) => {
      if (response.status === 200) assert.ok(response.body.endsWith(paths[index]), response.body);
      else assertRefused(response);
    });
    refused += responses.filter(({ status }) => status === 503).length;
  }
  assert.equal((await metrics()).totalErrors, 0);
});

test('the handshake of a WebSocket is refused, and not if its path is exempt', async (t) => {
  const { clients } = await saturated(t, { connections: 30 });
  const [exempt, ...others] = clients;
  await someOf(others, async (client) => {
    const [response] = await client.ask(upgrade('/socket'));
    if (response.status === 503) {
      assertRefused(response);
      assert.match(response.head, /^connection: close\r$/im);
    }
    await client.closed;
    return response.status === 503;
  });
  assert.equal((await exempt.ask(upgrade('/vital')))[0].status, 101);
});

test('the handshake of a WebSocket is refused after the response to the request before it', async (t) => {
  const { clients } = await saturated(t, { connections: 30 });
  await someOf(clients, async (client) => {
    const [first, second] = await client.ask(get('/vital?later=50') + upgrade('/socket'), 2);
    // The program's own 101 does not wait.
    const isRefused = first.status === 200;
    if (isRefused) assertRefused(second);
    client.socket.destroy();
    return isRefused;
  });
});

test('a client that is refused while it sends its body reads the whole response, though the connection ends', async (t) => {
  const { clients } = await saturated(t, { connections: 30 });
  const body = 'x'.repeat(256 * 1024);
  const post = `POST /work?ms=0 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ${2 * body.length}\r\n\r\n`;
  await someOf(clients, async (client) => {
    const [response] = await client.ask(post + body);
    if (response.status !== 503) {
      client.socket.on('error', () => {}).destroy();
      return false;
    }
    assertRefused(response);
    // After a close these bytes would be answered with a reset.
    for (let left = body.length; left > 0; left -= 64 * 1024) {
      await new Promise((resolve) => client.socket.write('x'.repeat(64 * 1024), resolve));
    }
    await client.closed;
    return true;
  });
});

test('who waits for 100 Continue is refused without it', async (t) => {
  const { clients } = await saturated(t, { connections: 30 });
  const post = 'POST /work?ms=0 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n';
  await someOf(clients, async (client) => {
    const [response] = await client.ask(post);
    if (response.status === 503) {
      assertRefused(response);
      assert.match(response.head, /^connection: close\r$/im);
    } else {
      assert.equal(response.status, 100);
    }
    client.socket.destroy();
    return response.status === 503;
  });
});

test('requests of HTTP/1.0 are refused, and their connections end', async (t) => {
  const { clients } = await saturated(t, { connections: 30 });
  await someOf(clients, async (client) => {
    const [response] = await client.ask(get('/work?ms=0', '1.0'));
    if (response.status === 503) assertRefused(response);
    await client.closed;
    return response.status === 503;
  });
});

test('requests on TLS connections that a worker has are refused with a response', async (t) => {
  const { key, cert } = createCertificate();
  const { clients } = await saturated(t, { connections: 30, kind: 'https', certificate: { key, cert }, isSecure: true });
  await someOf(clients, async (client) => {
    const [response] = await client.ask(get('/work?ms=0'));
    if (response.status === 503) assertRefused(response);
    return response.status === 503;
  });
});

for (const kind of ['http', 'http2']) {
  test(`health checks are not refused: ${kind}`, async (t) => {
    const healthCheck = { enabled: true, interval: 100, timeout: 10_000, maxFailures: 1, endpoint: '/checked', expectedStatus: 200 };
    const { port, run } = await start(t, { workers: 1, kind, config: { healthCheck } });
    const load = kind === 'http' ? saturate(port) : saturateStreams(port);
    try {
      await run.event('overload:began');
      const before = (run.output.match(/CHECKED/g) ?? []).length;
      await run.untilMany(before + 20, /CHECKED/);
      assert.ok(load.seen[503] > 0);
    } finally {
      await load.end();
    }
    assert.deepEqual(run.events('worker:check-failed'), []);
  });
}

/** Keeps the only worker busy with streams of one session, until the returned function is called. */
function saturateStreams(port) {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  const seen = {};
  let isOver = false;
  const client = async () => {
    while (!isOver) {
      const stream = session.request({ ':path': '/work?ms=10' });
      stream.resume().end();
      const [headers] = await once(stream, 'response');
      await once(stream, 'close');
      seen[headers[':status']] = (seen[headers[':status']] ?? 0) + 1;
    }
  };
  const all = Promise.all(Array.from({ length: 16 }, client));
  const end = async () => {
    isOver = true;
    await all;
    session.close();
  };
  return { seen, end };
}
