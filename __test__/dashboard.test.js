'use strict';

// The dashboard, in a real Chromium over a real cluster: what it shows, what it asks, what its buttons do, and that
// everybody can use it.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { monitoringUrl } = require('./helpers/monitoring');
const { remoteApi } = require('./helpers/remote-api');
const { browser } = require('./helpers/chromium');
const { freePort, request } = require('./helpers/http');
const { failureCluster, noNetworks, program } = require('./helpers/program');
const { redisProgram, startRedis } = require('./helpers/redis');
const { skip } = require('./helpers/skip');

const AXE = require.resolve('axe-core/axe.min.js');

async function cluster(t, monitoring = {}, port = undefined) {
  const own = await freePort();
  const program = failureCluster(t, { port: own, config: { monitoring: { port: port ?? 0, ...monitoring } } });
  const api = await monitoringUrl(program);
  await program.until(/the cluster is ready/);
  return { program, port: own, api };
}

/** A cluster that uses the cache at /fill, in two namespaces, and looks at it at /look. */
function caching({ port, config }) {
  const slow = () => new Promise((resolve) => setImmediate(resolve, { price: 1 }));
  const server = require('node:http').createServer(async ({ url }, response) => {
    const products = () => app.cache.namespace('products');
    if (url === '/fill') {
      await products().set('a', 'x'.repeat(2000));
      await app.cache.set('own', 1);
      await Promise.all([products().getOrSet('b', slow), products().getOrSet('b', slow)]);
    }
    if (url === '/look') products().get('a');
    response.end(String(process.pid));
  });
  const app = require('drover').createServer({ app: server, cluster: { enabled: true, config: { workers: 2, ...config } } });
  app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
}

async function cachingCluster(t) {
  const port = await freePort();
  const running = program(t, caching, { given: { port, config: { monitoring: { port: 0 } } } });
  const api = await monitoringUrl(running);
  await running.until(/the cluster is ready/);
  return { port, api };
}

/** A page that notes what it asked for and what went wrong. */
async function visit(chromium, api, options = {}) {
  const page = await chromium.newPage({ viewport: { width: 1280, height: 900 }, ...options });
  const seen = { asked: [], wrong: [] };
  page.on('request', (asked) => seen.asked.push(asked.url()));
  page.on('console', (message) => message.type() === 'error' && seen.wrong.push(message.text()));
  page.on('pageerror', (error) => seen.wrong.push(error.stack));
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => window.violations.push(`${violatedDirective} ${blockedURI}`));
  });
  await page.goto(api);
  await page.locator('#worker-table-body [data-worker]').nth(1).waitFor();
  return { page, seen };
}

const generations = async (api) => {
  const workers = (await request(Number(new URL(api).port), { path: '/cluster/workers' })).json();
  return workers.map(({ id, generation }) => `${id}.${generation}`).join(' ');
};

test('it shows the workers and live figures, asks its own origin alone and breaks no rule of its policy', async (t) => {
  const chromium = await browser(t);
  if (chromium === null) return;
  const { api, port } = await cluster(t);
  const { page, seen } = await visit(chromium, api);
  const [first] = (await request(Number(new URL(api).port), { path: '/cluster/workers' })).json();
  const row = page.locator('[data-worker="0"]');
  assert.equal(await row.getByRole('cell').nth(1).textContent(), String(first.pid));
  assert.equal(await row.locator('.pill').textContent(), 'ready');
  assert.equal(await page.locator('#status').textContent(), 'healthy');

  let loaded = true;
  const load = (async () => {
    while (loaded) await request(port);
  })();
  // The first tile.
  await page.waitForFunction(() => Number(document.querySelector('.tile .value span').textContent.replaceAll(',', '')) > 1);
  await page.waitForFunction(() => Number(document.querySelector('[data-worker="0"] [data-heading="Requests"]').textContent.replaceAll(',', '')) > 0);
  // Every chart has its points and says them in words.
  await page.waitForFunction(() => [...document.querySelectorAll('.chart')].every((chart) => chart.querySelector('canvas') && chart.querySelector('.none').hidden));
  const told = await page.getByRole('img', { name: /^Requests over .*: now [\d.,]+ \/s, lowest [\d.,]+ \/s, highest/ }).count();
  assert.equal(told, 1);
  loaded = false;
  await load;

  for (const range of ['1 h', 'All', '10 min']) {
    const answers = page.waitForResponse((response) => response.url().includes('/cluster/history?metric=queueLength'));
    await page.getByRole('radio', { name: range }).check();
    assert.equal((await answers).status(), 200, range);
  }
  assert.deepEqual(seen.asked.filter((url) => !url.startsWith(`${api}/`)), []);
  assert.deepEqual(await page.evaluate(() => window.violations), []);
  assert.deepEqual(seen.wrong, []);
});

test('it shows the cache by namespace once it is used', async (t) => {
  const chromium = await browser(t);
  if (chromium === null) return;
  const { api, port } = await cachingCluster(t);
  const { page, seen } = await visit(chromium, api);
  // The list of errors is asked for together with the cache.
  await page.locator('#errors').getByText('No errors.').waitFor();
  assert.ok(await page.locator('#cache').isHidden(), 'nobody has used the cache');
  assert.ok(await page.locator('#fleet').isHidden(), 'there is no redis');

  await request(port, { path: '/fill' });
  const lookers = new Set();
  let looks = 0;
  while (lookers.size < 2 || looks < 5) {
    lookers.add((await request(port, { path: '/look' })).body);
    looks += 1;
  }
  const cells = (namespace) => page.locator(`[data-namespace="${namespace}"] [role="cell"]`).evaluateAll((all) => Object.fromEntries(all.map((one) => [one.dataset.heading, one.textContent])));
  await page.waitForFunction((hits) => {
    const count = (heading) => Number(document.querySelector(`[data-namespace="products"] [data-heading="${heading}"]`)?.textContent);
    return count('Near hits') + count('Far hits') === hits && count('Misses') === 2;
  }, looks);
  const { namespaces } = (await request(Number(new URL(api).port), { path: '/cluster/cache' })).json();
  const figures = namespaces.find(({ namespace }) => namespace === 'products');
  assert.deepEqual(await cells('products'), {
    'Hit ratio': `${new Intl.NumberFormat('en', { maximumFractionDigits: 0 }).format((100 * looks) / (looks + 2))}\u202f%`,
    'Near hits': String(figures.nearHits),
    'Far hits': String(figures.farHits),
    Misses: '2',
    Computed: '1',
    'Flights saved': '1',
    Evicted: '0',
    Refused: '0',
    Entries: '2',
    Memory: `${(figures.bytes / 1000).toFixed(1)}\u202fkB`,
  });
  assert.ok(figures.farHits > 0 && figures.nearHits > 0, JSON.stringify(figures));
  assert.deepEqual(await page.locator('#cache [role="rowheader"]').allTextContents(), ['app.cache', 'products']);
  assert.equal((await cells(''))['Hit ratio'], '–', 'nobody has looked');
  assert.match(await page.locator('#cache-count').textContent(), /^3 entries, 2\.\d\u202fkB$/);
  assert.deepEqual(seen.wrong, []);
});

test('it shows the machines of a fleet, and says when Redis is gone', async (t) => {
  const chromium = await browser(t);
  if (chromium === null) return;
  if ((await redisProgram()) === undefined) return skip(t, 'there is no redis-server, and it may not be installed');
  const redis = await startRedis(t);
  const config = { redis: { host: '127.0.0.1', port: redis.port, prefix: 'test:' }, monitoring: { port: 0 } };
  const start = async () => {
    const running = program(t, caching, { given: { port: await freePort(), config } });
    await running.event('cluster:started');
    return running;
  };
  const [one, other] = [await start(), await start()];
  const { page, seen } = await visit(chromium, await monitoringUrl(one));
  await page.waitForFunction(() => document.querySelectorAll('#fleet-table-body [data-machine]').length === 2);
  const names = await page.locator('#fleet [role="rowheader"]').allTextContents();
  assert.equal(names.filter((name) => name.includes('this machine')).length, 1, names);
  assert.equal(names.filter((name) => name.includes('leads')).length, 1, names);
  const cell = (heading) => page.locator(`#fleet [data-heading="${heading}"]`).allTextContents();
  assert.deepEqual((await cell('PID')).sort(), [one.pid, other.pid].map(String).sort());
  await page.waitForFunction(() => [...document.querySelectorAll('#fleet [data-heading="Workers"]')].every(({ textContent }) => textContent === '2'));
  assert.equal(await page.locator('#fleet-count').textContent(), '2 machines');
  await redis.kill();
  await page.locator('#fleet-count').getByText('Redis cannot be used').waitFor();
  assert.deepEqual(seen.wrong, []);
});

test('its buttons scale and restart the cluster', async (t) => {
  const chromium = await browser(t);
  if (chromium === null) return;
  const { api } = await cluster(t);
  const { page, seen } = await visit(chromium, api);
  await page.getByLabel('One worker more').click();
  await page.getByRole('button', { name: 'Scale', exact: true }).click();
  await page.getByText('Scale to 3: done').waitFor();
  await page.locator('[data-worker="2"]').waitFor();
  assert.equal(await generations(api), '0.1 1.1 2.1');
  const decision = page.locator('#scaling li');
  await decision.waitFor();
  assert.match(await decision.textContent(), /2.*3/);
  const [{ timestamp }] = (await request(Number(new URL(api).port), { path: '/cluster/scaling' })).json().decisions;
  assert.equal(await decision.locator('time').getAttribute('datetime'), new Date(timestamp).toISOString());

  await page.getByRole('button', { name: 'Restart worker 1' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Restart' }).click();
  await page.getByText('Restart of worker 1: done').waitFor();
  assert.equal(await generations(api), '0.1 1.2 2.1');

  await page.getByRole('button', { name: 'Restart all' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('button', { name: 'Restart all' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Restart all' }).click();
  await page.getByText('Restart of all workers: done').waitFor();
  assert.equal(await generations(api), '0.2 1.3 2.2');
  assert.deepEqual(seen.wrong, []);
});

test('the charts mark a scale-up at its time, with the number of workers after it, also in words', async (t) => {
  const chromium = await browser(t);
  if (chromium === null) return;
  const { api } = await cluster(t);
  const context = await chromium.newContext();
  // What is written on the canvases of the charts.
  await context.addInitScript(() => {
    window.written = [];
    const { fillText } = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
      window.written.push(text);
      return fillText.call(this, text, ...place);
    };
  });
  const { page, seen } = await visit(context, api);
  const charts = page.locator('.chart').getByRole('img');
  const labels = () => charts.evaluateAll((all) => all.map((chart) => chart.getAttribute('aria-label')));
  const drawn = () => page.waitForFunction(() => [...document.querySelectorAll('.chart')].every((chart) => chart.querySelector('.none').hidden));
  await drawn();
  const count = await charts.count();
  assert.ok(count >= 6, String(count));
  for (const label of await labels()) assert.doesNotMatch(label, /number of workers/);
  assert.deepEqual((await page.evaluate(() => window.written)).filter((text) => /[▲▼]/.test(text)), []);

  for (const [workers, words] of [
    [3, /; 1 change of the number of workers$/],
    [4, /; 2 changes of the number of workers$/],
  ]) {
    const order = { method: 'POST', path: '/cluster/scale', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ workers }) };
    const asked = await request(Number(new URL(api).port), order);
    assert.equal(asked.status, 200, asked.body);
    await page.waitForFunction((mark) => window.written.includes(mark), `▲${workers}`);
    for (const label of await labels()) assert.match(label, words);
  }
  assert.deepEqual(seen.wrong, []);
});

test('the token is requested once, a wrong one is reported, and it is not shared with other tabs', async (t) => {
  const chromium = await browser(t);
  if (chromium === null) return;
  const { api } = await cluster(t, { token: 'the right token' });
  const { page } = await visit(chromium, api);
  const restart = () => page.getByRole('button', { name: 'Restart worker 0' }).click();
  const agree = () => page.getByRole('dialog').getByRole('button', { name: 'Restart' }).click();
  await restart();
  await agree();
  const field = page.getByRole('textbox', { name: 'Token' });
  await field.fill('a wrong token');
  await page.keyboard.press('Enter');
  await page.getByText('That is not the cluster’s token.').waitFor();
  assert.equal(await generations(api), '0.1 1.1');
  await field.fill('the right token');
  await page.keyboard.press('Enter');
  await page.getByText('Restart of worker 0: done').first().waitFor();
  assert.equal(await generations(api), '0.2 1.1');

  // What is said goes by itself: the next one is another's.
  await page.getByText('Restart of worker 0: done').first().waitFor({ state: 'hidden' });
  await restart();
  await agree();
  await page.getByText('Restart of worker 0: done').first().waitFor();
  assert.equal(await generations(api), '0.3 1.1');
  assert.deepEqual(await page.evaluate(() => Object.values(localStorage)), []);
  assert.deepEqual(await page.context().cookies(), []);
  await page.getByRole('button', { name: 'Forget token' }).click();
  assert.deepEqual(await page.evaluate(() => Object.values(sessionStorage)), []);
});

/** The least cluster for the page to show. */
function serving({ port, config }) {
  const app = require('drover').createServer({
    app: require('node:http').createServer((_, response) => response.end('ok')),
    cluster: { enabled: true, config: { workers: 2, ...config } },
  });
  app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
}

test('beyond loopback it requires the token before it shows anything', { skip: noNetworks }, async (t) => {
  const chromium = await browser(t);
  if (chromium === null) return;
  const { api } = await remoteApi(t, serving, { token: 'the right token' });
  const page = await chromium.newPage();
  await page.goto(`http://127.0.0.1:${api}`);
  const field = page.getByRole('textbox', { name: 'Token' });
  await field.fill('a wrong token');
  await page.keyboard.press('Enter');
  await page.getByText('That is not the cluster’s token.').waitFor();
  await field.fill('the right token');
  await page.keyboard.press('Enter');
  await page.locator('#worker-table-body [data-worker]').nth(1).waitFor();
  await page.getByLabel('One worker more').click();
  await page.getByRole('button', { name: 'Scale', exact: true }).click();
  // The stream of events is open to it as well.
  await page.locator('#events').getByText('cluster:scaled').waitFor();
  await page.locator('[data-worker="2"]').waitFor();

  const another = await chromium.newPage();
  await another.goto(`http://127.0.0.1:${api}`);
  await another.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  await another.getByText('This cluster requires its token.').waitFor();
  assert.equal(await another.locator('#status').textContent(), 'locked');
  assert.equal(await another.locator('dialog[open]').count(), 0, 'whoever wanted the token was answered by one dialog');
});

test('axe finds nothing serious, in light, in dark and on a phone', async (t) => {
  const chromium = await browser(t);
  if (chromium === null) return;
  const { api, port } = await cachingCluster(t);
  await request(port, { path: '/fill' });
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [1280, 900, 360]) {
      const context = await chromium.newContext({ colorScheme, viewport: { width, height: 800 }, bypassCSP: true });
      const { page } = await visit(context, api, { viewport: undefined });
      await page.locator('[data-namespace="products"]').waitFor();
      await page.addScriptTag({ path: AXE });
      const { violations } = await page.evaluate(() => window.axe.run());
      const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
      assert.deepEqual(serious.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]), [], `${colorScheme} ${width}`);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.equal(overflow, 0, `${width}: the page scrolls sideways`);
      // A dialog is read as well.
      await page.getByRole('button', { name: 'Restart all' }).click();
      const dialog = await page.evaluate(() => window.axe.run('#confirm'));
      assert.deepEqual(dialog.violations.map(({ id }) => id), [], `${colorScheme} ${width}: the dialog`);
      await context.close();
    }
  }
});

test('the keyboard reaches every control, and a dialog gives the focus back', async (t) => {
  const chromium = await browser(t);
  if (chromium === null) return;
  const { api } = await cluster(t);
  const { page } = await visit(chromium, api);
  const wanted = await page.evaluate(() => {
    const controls = [...document.querySelectorAll('a[href], button, input, select, [tabindex="0"]')];
    const shown = controls.filter((one) => one.checkVisibility() && !one.closest('dialog'));
    // One of a group of radio buttons is on the way; the arrows reach the others.
    const onTheWay = shown.filter((one) => one.type !== 'radio' || one.checked);
    onTheWay.forEach((one, at) => (one.dataset.test = String(at)));
    return onTheWay.length;
  });
  assert.ok(wanted >= 12, `only ${wanted} controls`);
  const reached = new Set();
  for (let at = 0; at < wanted + 2; at += 1) {
    await page.keyboard.press('Tab');
    const found = await page.evaluate(() => document.activeElement.dataset.test);
    if (found !== undefined) reached.add(found);
  }
  assert.equal(reached.size, wanted);

  await page.getByRole('radio', { name: '10 min' }).focus();
  await page.keyboard.press('ArrowRight');
  assert.ok(await page.getByRole('radio', { name: '1 h' }).isChecked());
  const button = page.getByRole('button', { name: 'Restart worker 0' });
  await button.focus();
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  assert.ok(await button.evaluate((element) => element === document.activeElement));
  assert.equal(await generations(api), '0.1 1.1');
});

test('the theme follows the system until the button says otherwise', async (t) => {
  const chromium = await browser(t);
  if (chromium === null) return;
  const { api } = await cluster(t);
  const { page } = await visit(chromium, api, { colorScheme: 'light' });
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await page.emulateMedia({ colorScheme: 'dark' });
  const dark = await ground();
  assert.notEqual(dark, light);
  await page.getByRole('button', { name: 'Light theme' }).click();
  assert.equal(await ground(), light);
  await page.reload();
  assert.equal(await ground(), light);
});

test('a lost connection to the cluster is shown, and the page recovers with a new cluster', async (t) => {
  const chromium = await browser(t);
  if (chromium === null) return;
  const { program, api } = await cluster(t);
  const { page } = await visit(chromium, api);
  await program.stop();
  await page.getByText(/Connection lost since \d\d:\d\d:\d\d/).waitFor();
  assert.equal(await page.locator('#status').textContent(), 'no answer');
  const next = await cluster(t, {}, Number(new URL(api).port));
  await page.getByText(/Connection lost since/).waitFor({ state: 'hidden' });
  const [first] = (await request(Number(new URL(next.api).port), { path: '/cluster/workers' })).json();
  await page.waitForFunction((pid) => document.querySelector('[data-worker="0"] [data-heading="PID"]').textContent === pid, String(first.pid));
  assert.equal(await page.locator('#status').textContent(), 'healthy');
});

test('with monitoring.dashboard false there is no dashboard, and the response says why', async (t) => {
  const { api } = await cluster(t, { dashboard: false });
  const answer = await request(Number(new URL(api).port), { path: '/' });
  assert.deepEqual([answer.status, answer.json().error.code], [404, 'NOT_FOUND']);
  assert.match(answer.json().error.message, /monitoring\.dashboard is false/);
});

test('the vendored uPlot is the package’s own, at the version that package.json pins', () => {
  const { devDependencies } = require('../package.json');
  const folder = path.dirname(require.resolve('uplot/package.json'));
  assert.equal(devDependencies.uplot, require('uplot/package.json').version);
  for (const [ours, theirs] of [
    ['uPlot.iife.min.js', 'dist/uPlot.iife.min.js'],
    ['uPlot.min.css', 'dist/uPlot.min.css'],
    ['LICENSE', 'LICENSE'],
  ]) {
    const vendored = fs.readFileSync(path.join(__dirname, '..', 'src', 'admin', 'dashboard', 'uplot', ours));
    assert.ok(vendored.equals(fs.readFileSync(path.join(folder, theirs))), ours);
  }
});
