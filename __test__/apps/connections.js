'use strict';

// The connections of a program's clients that one of its processes has, according to the kernel.

const fs = require('node:fs');

const LISTENING = '0A';

/** The rows of a table in /proc/net, each as an array of columns. */
const rows = (table) => fs.readFileSync(`/proc/net/${table}`, 'utf8').trim().split('\n').slice(1).map((line) => line.trim().split(/\s+/));

const portOf = (address) => address.split(':').pop();

/** The inodes of a process's sockets. */
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
 * What a stopped process (SIGSTOP) has of its clients: the number of `connections` it has accepted and whether it reads
 * their `datagrams`. What the kernel or the primary still holds for it does not count.
 */
function heldBy(pid, { port, socketPath }) {
  const own = socketsOf(pid);
  const tcp = ['tcp', 'tcp6'].flatMap(rows).map(([, local, , state, , , , , , inode]) => ({ port: portOf(local), state, inode }));
  const listening = new Set(tcp.filter(({ state }) => state === LISTENING).map((socket) => socket.port));
  const accepted = tcp.filter(({ state, inode, port: local }) => own.has(inode) && state !== LISTENING && listening.has(local));
  // The row with the listening flag is the listener's; the rows of its connections have its path too.
  const unix = rows('unix').filter(([, , , flags, , , inode, path]) => path === socketPath && flags === '00000000' && own.has(inode));
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  const udp = ['udp', 'udp6'].flatMap(rows).filter(([, local, , , , , , , , inode]) => own.has(inode) && portOf(local) === hex);
  return { connections: accepted.length + unix.length, datagrams: udp.length > 0 };
}

module.exports = { heldBy };
