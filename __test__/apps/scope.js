'use strict';

// What a test's context is to the helpers (`after`, `skip`), for a command that is no test.

class Skipped extends Error {}

/** What is still to be done, for each scope that has not ended. */
const scopes = new Set();

async function end(later) {
  if (!scopes.delete(later)) return;
  for (const act of later.reverse()) await act();
}

/** Ends the scopes that are under way. */
const endScopes = () => Promise.all([...scopes].map(end));

/** Calls `work` with a context; what it has put off with `after` is done when it ends, last first. */
async function scope(work) {
  const later = [];
  scopes.add(later);
  const t = {
    after: (act) => later.push(act),
    skip: (reason) => {
      throw new Skipped(reason);
    },
  };
  try {
    return await work(t);
  } finally {
    await end(later);
  }
}

module.exports = { Skipped, endScopes, scope };
