'use strict';

// Python packages that drover is tested with, in virtual environments under .cache/python.

const fs = require('node:fs');
const path = require('node:path');
const { alone } = require('./debian');
const { skip } = require('./skip');

/** Creates the environment, unless another process did so while this one waited for the lock. */
const INSTALL = `
folder=$1; whole=$2; shift 2
test -e "$whole" && exit
rm -rf "$folder"
python3 -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
touch "$whole"
`;
const cache = path.resolve(__dirname, '..', '..', '.cache', 'python');

/**
 * Resolves to the path of a Python with the packages, such as `prometheus_client==0.26.0`, or to null if there is none:
 * the test `t` is then skipped with the reason (with CI=true it fails).
 */
async function python(t, ...packages) {
  const folder = path.join(cache, packages.join('+').replace(/[^\w.+]+/g, '-'));
  const binary = path.join(folder, 'bin', 'python');
  const whole = path.join(folder, 'complete');
  try {
    if (!fs.existsSync(whole)) await alone(INSTALL, [folder, whole, ...packages]);
    return binary;
  } catch (error) {
    return skip(t, `no Python with ${packages.join(', ')}: ${error.message.trim().split('\n').at(-1)}`, error);
  }
}

module.exports = { python };
