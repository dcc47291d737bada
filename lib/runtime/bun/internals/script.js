// @ts-check
'use strict';

// The script that this process runs, as it was named: Bun's `process.argv[1]` has every link on its way resolved.
//
// Relies on: the kernel's command line of the process ends with the script and its arguments.
// Seen on: Bun 1.4.4, 1.4.5.

const fs = require('node:fs');
const path = require('node:path');

/** The script's path, which may be a link or without its extension; undefined if there is none. @returns {string | undefined} */
function givenScript() {
  const [, script, ...args] = process.argv;
  if (script === undefined) return undefined;
  try {
    const line = fs.readFileSync('/proc/self/cmdline', 'utf8').split('\0').slice(0, -1);
    const given = path.resolve(line[line.length - args.length - 1]);
    return fs.realpathSync(require.resolve(given)) === fs.realpathSync(script) ? given : script;
  } catch {
    // It is named otherwise, or by now the folder is another.
    return script;
  }
}

module.exports = { givenScript };
