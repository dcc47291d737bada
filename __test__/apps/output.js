'use strict';

// What a cluster's output says of its workers, and what in it one process would not have said.

/** Lines that differ by a number, an id or a colour alone are the same. */
const plain = (line) =>
  line
    // eslint-disable-next-line no-control-regex
    .replace(/\x1b\[[\d;]*m/g, '')
    .replace(/[0-9a-f]{6,}|\d+/gi, '#')
    .trim();

function record(line) {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

/** Whether a record is what drover says of a machine that others keep busy: it tells nothing about the program. */
const isOfABusyMachine = ({ event, reason, cause }) =>
  (event === 'worker:unhealthy' && reason.startsWith('its event loop is blocked')) || cause === 'cluster_critical';

const linesOf = (text) => text.split('\n').filter((line) => line.trim() !== '');

/** The lines at warn or above of a cluster (`raw`: its standard output, `errors`: its standard error) that one process does not cause. */
function noise({ raw, errors }, alone) {
  const known = new Set(linesOf(alone).flatMap((line) => [line, ...String(record(line)?.msg ?? '').split('\n')].map(plain)));
  const grave = linesOf(raw).flatMap((line) => {
    const said = record(line) ?? {};
    return said.level >= 40 && !isOfABusyMachine(said) ? linesOf(String(said.msg)) : [];
  });
  return [...grave, ...linesOf(errors)].filter((line) => !known.has(plain(line)));
}

/** Ids of the processes that have served as workers of a program that runs. */
const served = (running) => running.events('worker:ready').map(({ workerPid }) => workerPid);

/** Ids of the processes that wrote what `pattern` says. */
function writers(raw, pattern) {
  return linesOf(raw)
    .map((line) => ({ line, ...record(line) }))
    .filter(({ line, msg }) => pattern.test(msg ?? line))
    .map(({ pid }) => pid);
}

module.exports = { noise, served, writers };
