'use strict';

/**
 * What the test `t` needs is not there: it is skipped and says why, loudly. With CI=true that is a failure, unless the
 * machine's kernel forbids it.
 */
function skip(t, text, cause, { forbidden = false } = {}) {
  const reason = `SKIPPED: ${text}`;
  if (process.env.CI === 'true' && !forbidden) throw new Error(reason, { cause });
  console.log(reason);
  t.skip(reason);
  return null;
}

module.exports = { skip };
