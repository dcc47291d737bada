'use strict';

/**
 * Skips the test `t`, with the reason in its output, because something it needs is missing. With CI=true it throws
 * instead, unless the machine's kernel forbids what the test needs.
 */
function skip(t, text, cause, { forbidden = false } = {}) {
  const reason = `SKIPPED: ${text}`;
  if (process.env.CI === 'true' && !forbidden) throw new Error(reason, { cause });
  console.log(reason);
  t.skip(reason);
  return null;
}

module.exports = { skip };
