'use strict';

// node:cluster as its documentation shows it: cluster.js WORKERS rr|none. A worker that dies is replaced.

const cluster = require('node:cluster');
const path = require('node:path');

const [workers, policy] = process.argv.slice(2);
cluster.schedulingPolicy = policy === 'rr' ? cluster.SCHED_RR : cluster.SCHED_NONE;
cluster.setupPrimary({ exec: path.join(__dirname, 'plain.js'), args: [] });

const fork = (id) => cluster.fork({ WORKER_ID: String(id) }).once('exit', () => fork(id));
for (let id = 0; id < Number(workers); id += 1) fork(id);
