'use strict';

// A real Chromium, driven by playwright-core: the machine's own, or Debian's package where it may be installed, or
// Playwright's, in .cache/browsers.

const { execFile } = require('node:child_process');
const path = require('node:path');
const { promisify } = require('node:util');
const { PATIENCE, fromDebian, installed, isProgram, mayInstall } = require('./debian');
const { skip } = require('./skip');

const root = path.resolve(__dirname, '..', '..');
const cache = path.join(root, '.cache', 'browsers');
const run = promisify(execFile);

/** Names of a Chromium on the PATH, the most likely first. */
const NAMES = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'];

/** The path of a Chromium of this machine's, or undefined. */
function ownChromium() {
  const named = process.env.CHROMIUM_PATH;
  return named && isProgram(named) ? named : installed(...NAMES);
}

const chromiumFromDebian = () => fromDebian('chromium');

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
  const found = ownChromium();
  if (found !== undefined) return found;
  const troubles = [];
  for (const way of [...(mayInstall() ? [chromiumFromDebian] : []), fromPlaywright]) {
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
    return skip(t, error.message.split('\n')[0], error);
  }
}

module.exports = { browser, launchChromium };
