// Processes that the schedule stops or kills: checking, stopping, continuing, and waiting for their death. All were
// started by this run.

import fs from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import journal from './servers/journal.js';

const LOOK_MS = 5;

/** Whether a process runs; one that has ended and was not reaped does not. */
export function isAlive(pid) {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z';
  } catch {
    return false;
  }
}

/** Sends a signal; false when the process is gone. */
export function signal(pid, name) {
  try {
    return process.kill(pid, name);
  } catch (error) {
    if (error.code === 'ESRCH') return false;
    throw error;
  }
}

/** Resolves to the time of a process's death, or to null when it lives after `patience` milliseconds. */
export async function death(pid, patience) {
  const deadline = journal.now() + patience;
  while (isAlive(pid)) {
    if (journal.now() > deadline) return null;
    // It is nobody's child here: only looking tells.
    await wait(LOOK_MS);
  }
  return journal.now();
}

/**
 * The connections that a process has, as `SERVER_PORT CLIENT_PORT`: what the kernel says, also of those that the
 * process has not come to yet. It must not run meanwhile.
 */
export function connectionsOf(pid) {
  const inodes = new Set();
  try {
    for (const fd of fs.readdirSync(`/proc/${pid}/fd`)) {
      const [, inode] = fs.readlinkSync(`/proc/${pid}/fd/${fd}`).match(/^socket:\[(\d+)\]$/) ?? [];
      if (inode) inodes.add(inode);
    }
  } catch {
    // It is gone already, and has none.
    return new Set();
  }
  const port = (address) => parseInt(address.split(':')[1], 16);
  const rows = fs.readFileSync('/proc/net/tcp', 'latin1').split('\n').slice(1, -1);
  const own = rows.map((row) => row.trim().split(/\s+/)).filter((columns) => inodes.has(columns[9]));
  return new Set(own.map(([, local, remote]) => `${port(local)} ${port(remote)}`));
}

/** The processes among these that live and still are this run's: they have its journal in their environment. */
export function ownOf(pids, journalFile) {
  return [...pids].filter((pid) => {
    try {
      return isAlive(pid) && fs.readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`SOAK_JOURNAL=${journalFile}`);
    } catch {
      return false;
    }
  });
}
