'use strict';

// A replacement for a test's context (`after`, `skip`), for commands that use the helpers outside a test.

class Skipped extends Error {}

/** The pending `after` functions of each scope that has not ended. */
const scopes = new Set();

async function end(later) {
  if (!scopes.delete(later)) return;
  for (const act of later.reverse()) await act();
}

/** Ends all scopes in progress. */
const endScopes = () => Promise.all([...scopes].map(end));

/** Calls `work` with a context; when it ends, runs the functions registered with `after`, the last first. */
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
