'use strict';

// npm run screenshots: a cluster under load for some minutes, and its dashboard as docs/dashboard-*.png.
// `npm run screenshots -- 30` loads it for 30 seconds.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { freePort } = require('../__test__/helpers/http');
const { launchChromium } = require('../__test__/helpers/chromium');
const { build } = require('./build');
const { root } = require('./support/child');
const { isCurrent } = require('./support/fingerprint');
const { install } = require('./support/install');
const { main, say } = require('./support/terminal');

/** Seconds of load before the pictures are taken. */
const LOADED = 150;

/** Maximum bytes of a picture. */
const MAX_BYTES = 200_000;

const PICTURES = [
  { name: 'light', colorScheme: 'light', width: 1300, height: 1200 },
  { name: 'dark', colorScheme: 'dark', width: 1300, height: 1200 },
  { name: 'phone', colorScheme: 'dark', width: 390, height: 844 },
];

/** Sends requests in waves, a few of them slow and a few failing. */
function load(port) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
  const ask = (url) =>
    http
      .get({ host: '127.0.0.1', port, path: url, agent }, (response) => response.resume())
      // Single failed requests do not matter for a picture.
      .on('error', () => {});
  const begin = performance.now();
  const timer = setInterval(() => {
    const seconds = (performance.now() - begin) / 1000;
    const rate = 220 + 120 * Math.sin(seconds / 9) + 60 * Math.sin(seconds / 2.3);
    for (let left = rate / 20; left > Math.random(); left -= 1) {
      const dice = Math.random();
      // Some words are searched for often, many of them once.
      const words = Math.floor(2000 ** Math.random());
      ask(dice < 0.012 ? '/report' : dice < 0.016 ? '/checkout' : dice < 0.4 ? `/search?${words}` : `/?${words}`);
    }
  }, 50);
  return () => {
    clearInterval(timer);
    agent.destroy();
  };
}

async function shop(port, monitoring) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drover-shop-'));
  fs.mkdirSync(path.join(folder, 'node_modules'));
  fs.symlinkSync(root, path.join(folder, 'node_modules', 'drover'));
  const script = path.join(folder, 'server.js');
  fs.copyFileSync(path.join(root, 'scripts', 'support', 'shop.js'), script);
  const env = { ...process.env, NODE_ENV: 'production', PORT: String(port), MONITORING: String(monitoring) };
  const child = spawn(process.execPath, [script], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (output += text));
  while (!output.includes('the shop is open')) {
    if (child.exitCode !== null) throw new Error(`the shop did not open:\n${output}`);
    await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
  }
  return async () => {
    child.kill('SIGTERM');
    if (child.exitCode === null) await once(child, 'exit');
    fs.rmSync(folder, { recursive: true, force: true });
  };
}

async function photograph(browser, address, { name, colorScheme, width, height }) {
  const page = await browser.newPage({ colorScheme, viewport: { width, height }, deviceScaleFactor: 1 });
  await page.goto(address);
  await page.locator('#worker-table-body [data-worker]').nth(2).waitFor();
  await page.locator('.chart .none').first().waitFor({ state: 'hidden' });
  await page.locator('[data-namespace]').nth(2).waitFor();
  const file = path.join(root, 'docs', `dashboard-${name}.png`);
  await page.screenshot({ path: file, animations: 'disabled' });
  await page.close();
  const { size } = fs.statSync(file);
  say(`${path.relative(root, file)}: ${Math.round(size / 1000)} kB`);
  return size <= MAX_BYTES;
}

main(async () => {
  const seconds = Number(process.argv[2] ?? LOADED);
  await install();
  // A debug build of the addon is sufficient for a picture.
  if (!isCurrent('debug')) await build();
  const [port, monitoring] = [await freePort(), await freePort()];
  const close = await shop(port, monitoring);
  const rest = load(port);
  try {
    say(`The shop is open; its dashboard is at http://127.0.0.1:${monitoring}/ for ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    const browser = await launchChromium();
    let small = true;
    for (const picture of PICTURES) small = (await photograph(browser, `http://127.0.0.1:${monitoring}/`, picture)) && small;
    await browser.close();
    if (!small) say(`A picture has more than ${MAX_BYTES / 1000} kB.`);
    return small ? 0 : 1;
  } finally {
    rest();
    await close();
  }
});
