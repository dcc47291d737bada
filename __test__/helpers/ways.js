'use strict';

// Runs one program in several ways: as a single process, with node:cluster and with drover. What the first two do is
// what a program expects of the third.

/** Each receives the source of the program's function and of its argument. */
const WAYS = {
  'one process': (body, given) => `(${body})(${given});`,
  'node:cluster': (body, given) => `
    const cluster = require('node:cluster');
    if (cluster.isPrimary) {
      cluster.fork();
      cluster.fork();
    } else (${body})(${given});`,
  drover: (body, given) => `
    const { ClusterManager } = require('drover');
    if (process.env.CLUSTER_WORKER === undefined) {
      const config = { workers: 2, monitoring: { enabled: false }, logging: { level: 'warn' } };
      new ClusterManager({ ...config, ...${given}.config }).start().then(() => console.log('ALL READY'), (error) => {
        console.log('NOT STARTED', error.message);
        process.exit(1);
      });
    } else (${body})(${given});`,
};

/** The source of the program for `program()` of program.js. @param {string} way a key of WAYS */
const inWay = (way, body, given = {}) => `'use strict';\n${WAYS[way](String(body), JSON.stringify(given))}\n`;

/** The number of processes that run the program. */
const processesOf = (way) => (way === 'one process' ? 1 : 2);

module.exports = { inWay, processesOf, ways: Object.keys(WAYS) };
