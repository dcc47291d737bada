// Determines from the workers' journal which failures were inside a worker that the schedule killed: no clock, no I/O.

/**
 * Milliseconds from a worker's death until its clients have seen it. A slow reader first reads what the dead had given to
 * the kernel: for it they begin with the last of that.
 */
const NOTICE_MS = 2000;
/** Milliseconds after a death in which a request may leave for a connection that is not known to be gone. */
const CROSSING_MS = 50;
/** Milliseconds from a strike until the victim takes nothing more. */
const STILL_MS = 50;

/** Reads the journal (see servers/journal.js). */
export function readJournal(text) {
  const began = new Map();
  const owners = new Map();
  const executions = new Map();
  const workers = new Set();
  // What follows the last line end is a line that a killed worker could not finish.
  for (const line of text.split('\n').slice(0, -1)) {
    const [what, pid, ...rest] = line.split(' ');
    workers.add(Number(pid));
    if (what === 'c') {
      const [serverPort, clientPort, time] = rest;
      const key = `${serverPort} ${clientPort}`;
      if (!owners.has(key)) owners.set(key, []);
      owners.get(key).push({ pid: Number(pid), at: Number(time) });
    } else if (what === 'r') began.set(rest[0], Number(pid));
    else executions.set(rest[0], (executions.get(rest[0]) ?? 0) + 1);
  }
  return { began, owners, executions, workers };
}

/** The worker that held a connection { serverPort, clientPort, opened } at that time, or undefined. */
function ownerOf(connection, at, { owners }) {
  if (!connection) return undefined;
  const { serverPort, clientPort, opened } = connection;
  const held = owners.get(`${serverPort} ${clientPort}`) ?? [];
  // The port may have been another connection's before.
  return held.findLast((owner) => owner.at >= opened && owner.at <= at)?.pid;
}

/**
 * The worker that a request was in: that which began it, else the one that held its connection, as the workers or
 * the kernel say; or undefined.
 */
export function workerOf(failure, journal, deaths) {
  const noted = journal.began.get(failure.id) ?? ownerOf(failure.connection, failure.at, journal);
  if (noted !== undefined || !failure.connection) return noted;
  const { serverPort, clientPort, opened } = failure.connection;
  const isHolder = ([, { from, held }]) => opened <= from + STILL_MS && held.has(`${serverPort} ${clientPort}`);
  return [...deaths].find(isHolder)?.[0];
}

/**
 * True when a failed request was inside a killed worker: that worker had begun it, or held its connection when
 * no worker had begun it, and the failure came with the death. `deaths` are { from, until, held } by process id:
 * when the schedule struck, when the process was gone, and the connections it had, as `SERVER_PORT CLIENT_PORT`.
 */
export function wasInKilledWorker(failure, journal, deaths) {
  const death = deaths.get(workerOf(failure, journal, deaths));
  if (failure.verdict !== 'failed' || death === undefined) return false;
  const silentSince = Math.max(death.until, failure.connection?.readAt ?? 0);
  const cameWithIt = failure.at >= death.from && failure.at <= silentSince + NOTICE_MS;
  return cameWithIt && failure.begun <= death.until + CROSSING_MS;
}
