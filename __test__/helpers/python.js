'use strict';

// Python packages that drover is tested with, in an environment of their own under .cache/python.

const { execFile } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');
const { skip } = require('./skip');

const run = promisify(execFile);
const cache = path.resolve(__dirname, '..', '..', '.cache', 'python');

/**
 * Resolves to the path of a Python that has the packages, such as `prometheus_client==0.26.0`. Where there is none, the
 * test `t` is skipped and says why (with CI=true it fails), and this resolves to null.
 */
async function python(t, ...packages) {
  const folder = path.join(cache, packages.join('+').replace(/[^\w.+]+/g, '-'));
  const binary = path.join(folder, 'bin', 'python');
  const whole = path.join(folder, 'complete');
  try {
    if (!fs.existsSync(whole)) {
      fs.rmSync(folder, { recursive: true, force: true });
      fs.mkdirSync(cache, { recursive: true });
      await run('python3', ['-m', 'venv', folder]);
      await run(binary, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...packages]);
      fs.writeFileSync(whole, '');
    }
    return binary;
  } catch (error) {
    return skip(t, `no Python with ${packages.join(', ')}: ${error.message.trim().split('\n').at(-1)}`, error);
  }
}

module.exports = { python };
