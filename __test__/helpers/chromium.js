'use strict';

// A Chromium driven by playwright-core: the installed one, else Debian's package if it may be installed, else
// Playwright's in .cache/browsers.

const { execFile } = require('node:child_process');
const path = require('node:path');
const { promisify } = require('node:util');
const { PATIENCE, fromDebian, installed, isProgram, mayInstall } = require('./debian');
const { skip } = require('./skip');

const root = path.resolve(__dirname, '..', '..');
const cache = path.join(root, '.cache', 'browsers');
const run = promisify(execFile);

/** Names of Chromium on the PATH, the most likely first. */
const NAMES = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'];

/** The path of the installed Chromium, or undefined. */
function ownChromium() {
  const named = process.env.CHROMIUM_PATH;
  return named && isProgram(named) ? named : installed(...NAMES);
}

const chromiumFromDebian = () => fromDebian('chromium');

async function fromPlaywright() {
  // Playwright reads the location of its browsers when it is loaded.
  process.env.PLAYWRIGHT_BROWSERS_PATH = cache;
  const { chromium } = require('playwright-core');
  if (!isProgram(chromium.executablePath())) {
    const cli = path.join(path.dirname(require.resolve('playwright-core/package.json')), 'cli.js');
    await run(process.execPath, [cli, 'install', 'chromium'], { timeout: PATIENCE, cwd: root });
  }
  return chromium.executablePath();
}

/** Resolves to the path of a Chromium; rejects with the errors of all attempts. */
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

/** Starts a headless Chromium. */
async function launchChromium() {
  const executablePath = await findChromium();
  const { chromium } = require('playwright-core');
  // Chromium's sandbox does not work as root; the pages are those of the test.
  return chromium.launch({ executablePath, chromiumSandbox: process.getuid() !== 0, args: ['--force-color-profile=srgb'] });
}

/**
 * Resolves to a browser for the test `t`, closed when the test ends; null if there is none: the test is then skipped
 * with the reason (with CI=true it fails).
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
