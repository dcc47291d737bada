'use strict';

// Writes docs/options.md, the reference of the options, from the core: node scripts/options.js [--check]
//
//   --check  writes nothing and fails when the page is not what the core says
//
// The page is made by the addon that is built: `npm run build` first, when src/config changed.

const fs = require('node:fs');
const path = require('node:path');
const { root } = require('./support/child');
const { Trouble, main, say } = require('./support/terminal');

const page = path.join(root, 'docs', 'options.md');

function reference() {
  const { optionReference } = require('../binding.js');
  return optionReference();
}

/** Whether the page on disk is what the core says. */
function isFresh() {
  return fs.existsSync(page) && fs.readFileSync(page, 'utf8') === reference();
}

if (require.main === module) {
  main(async () => {
    if (isFresh()) {
      say('docs/options.md is what the core says.');
    } else if (process.argv.includes('--check')) {
      throw new Trouble('docs/options.md is not what the core says. Run `npm run options` and commit the result.');
    } else {
      fs.mkdirSync(path.dirname(page), { recursive: true });
      fs.writeFileSync(page, reference());
      say('docs/options.md is written.');
    }
    return 0;
  });
}

module.exports = { isFresh, reference };
