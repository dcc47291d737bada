'use strict';

// A real Chromium, driven by playwright-core: the machine's own, or Debian's package where it may be installed, or
// Playwright's, in .cache/browsers.

const { execFile } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');

const root = path.resolve(__dirname, '..', '..');
const cache = path.join(root, '.cache', 'browsers');
const run = promisify(execFile);

/** Names of a Chromium on the PATH, the most likely first. */
const NAMES = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'];

/** Milliseconds that an installation may take. */
const PATIENCE = 300_000;

const isProgram = (file) => {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return true;
  } catch {
    return false;
  }
};

/** The path of a Chromium of this machine's, or undefined. */
function installed() {
  const folders = (process.env.PATH ?? '').split(path.delimiter);
  const places = [process.env.CHROMIUM_PATH, ...NAMES.flatMap((name) => folders.map((folder) => path.join(folder, name)))];
  return places.find((place) => place && isProgram(place));
}

async function fromDebian() {
  const options = { timeout: PATIENCE, env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } };
  await run('apt-get', ['update', '--quiet'], options);
  await run('apt-get', ['install', '--yes', '--quiet', '--no-install-recommends', 'chromium'], options);
  const found = installed();
  if (found === undefined) throw new Error('the package chromium brought no chromium');
  return found;
}

async function fromPlaywright() {
  // Playwright reads where its browsers are when it is loaded.
  process.env.PLAYWRIGHT_BROWSERS_PATH = cache;
  const { chromium } = require('playwright-core');
  if (!isProgram(chromium.executablePath())) {
    const cli = path.join(path.dirname(require.resolve('playwright-core/package.json')), 'cli.js');
    await run(process.execPath, [cli, 'install', 'chromium'], { timeout: PATIENCE, cwd: root });
  }
  return chromium.executablePath();
}

/** Resolves to the path of a Chromium; rejects with what every way to get one said. */
async function findChromium() {
  const found = installed();
  if (found !== undefined) return found;
  const troubles = [];
  for (const way of [...(process.getuid() === 0 && isProgram('/usr/bin/apt-get') ? [fromDebian] : []), fromPlaywright]) {
    try {
      return await way();
    } catch (error) {
      troubles.push(`${way.name}: ${error.message.trim().split('\n').at(-1)}`);
    }
  }
  throw new Error(`no Chromium (${troubles.join('; ')})`);
}

/** Starts a Chromium without a window. */
async function launchChromium() {
  const executablePath = await findChromium();
  const { chromium } = require('playwright-core');
  // Its own sandbox cannot be made by root; the pages are this test's own.
  return chromium.launch({ executablePath, chromiumSandbox: process.getuid() !== 0, args: ['--force-color-profile=srgb'] });
}

/**
 * A browser for the test `t`, closed when it ends. Where there is none the test is skipped and says why (with CI=true
 * it fails), and this resolves to null.
 */
async function browser(t) {
  try {
    const started = await launchChromium();
    t.after(() => started.close());
    return started;
  } catch (error) {
    const reason = `SKIPPED: ${error.message.split('\n')[0]}`;
    if (process.env.CI === 'true') throw new Error(reason, { cause: error });
    console.log(reason);
    t.skip(reason);
    return null;
  }
}

module.exports = { browser, launchChromium };
