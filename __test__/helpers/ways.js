'use strict';

// One program, run in several ways: as a single process, by node:cluster and by drover. What holds in the first two is
// what a program expects of the third.

/** Each gets the text of a function that is the program, and of its argument. */
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

/** The program as a text for `program()` of program.js. @param {string} way a key of WAYS */
const inWay = (way, body, given = {}) => `'use strict';\n${WAYS[way](String(body), JSON.stringify(given))}\n`;

/** Processes that run the program in a way. */
const processesOf = (way) => (way === 'one process' ? 1 : 2);

module.exports = { inWay, processesOf, ways: Object.keys(WAYS) };
