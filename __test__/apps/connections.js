'use strict';

// Which connections of a program's clients are at one of its processes, as the kernel knows it.

const fs = require('node:fs');

const LISTENING = '0A';

/** Rows of a table of /proc/net, as their columns. */
const rows = (table) => fs.readFileSync(`/proc/net/${table}`, 'utf8').trim().split('\n').slice(1).map((line) => line.trim().split(/\s+/));

const portOf = (address) => address.split(':').pop();

/** Inodes of the sockets that a process has. */
function socketsOf(pid) {
  const folder = `/proc/${pid}/fd`;
  const targets = fs.readdirSync(folder).map((fd) => {
    try {
      return fs.readlinkSync(`${folder}/${fd}`);
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
      return '';
    }
  });
  return new Set(targets.map((target) => target.match(/^socket:\[(\d+)\]$/)?.[1]).filter(Boolean));
}

/**
 * How much a process that is stopped (SIGSTOP) has of its clients: { connections } it has accepted, and whether it reads
 * `datagrams` of theirs. What the kernel or the primary still holds for it is not its own.
 */
function heldBy(pid, { port, socketPath }) {
  const own = socketsOf(pid);
  const tcp = ['tcp', 'tcp6'].flatMap(rows).map(([, local, , state, , , , , , inode]) => ({ port: portOf(local), state, inode }));
  const listening = new Set(tcp.filter(({ state }) => state === LISTENING).map((socket) => socket.port));
  const accepted = tcp.filter(({ state, inode, port: local }) => own.has(inode) && state !== LISTENING && listening.has(local));
  // The listener's row is the one with its flag; those of its connections have its path too.
  const unix = rows('unix').filter(([, , , flags, , , inode, path]) => path === socketPath && flags === '00000000' && own.has(inode));
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  const udp = ['udp', 'udp6'].flatMap(rows).filter(([, local, , , , , , , , inode]) => own.has(inode) && portOf(local) === hex);
  return { connections: accepted.length + unix.length, datagrams: udp.length > 0 };
}

module.exports = { heldBy };
