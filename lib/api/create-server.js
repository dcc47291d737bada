// @ts-check
'use strict';

// createServer: determines the role of this process and creates the application with the cluster's methods.

const { addon, problem } = require('../native');
const { methodsOf, mixInto } = require('./cluster-app');
const { isMainThread, singleProcessReason, snapshot } = require('../process/environment');
const { functionsOf } = require('../metrics/reporting');
const { given, split } = require('../options');
const { answerProbes } = require('../http/probe-routes');
const { unwrap } = require('../errors');
const { ClusterManager } = require('./cluster-manager');
const { worker } = require('../worker/worker');
const { PrimaryRole } = require('./roles/primary-role');
const { SingleRole } = require('./roles/single-role');
const { WorkerRole } = require('./roles/worker-role');

/** Whether the warning that the addon is missing was printed. */
let hasWarned = false;

function warnOnce() {
  if (hasWarned) return;
  hasWarned = true;
  console.warn(`drover: clustering is off, one process serves: ${problem?.message}`);
}

/**
 * @param {any} made
 * @param {any} options
 * @param {ClusterManager} manager
 */
function roleOf(made, options, manager) {
  const own = worker();
  if (own !== null && isMainThread) {
    own.healthChecks.configure(options);
    return new WorkerRole(made, own);
  }
  if (addon === null) {
    warnOnce();
    return new SingleRole(made);
  }
  const input = { options: made.data, env: snapshot(), singleProcessReason: isMainThread ? singleProcessReason() : 'node-cluster' };
  const configuration = new addon.Configuration(input);
  made.prepared = unwrap(configuration.outcome);
  made.configuration = configuration;
  if (!made.prepared.clustering) return new SingleRole(made);
  return new PrimaryRole(made, configuration, manager);
}

/**
 * Creates an Express application (or takes the one given) that can run as a cluster.
 *
 * @param {any} [options]
 */
function createServer(options = {}) {
  const { data, app: own, server } = split(options);
  const app = own ?? require('express')();
  const manager = ClusterManager.over();
  const made = { app, isGiven: own !== undefined, server, data, prepared: null, configuration: null, functions: functionsOf(options), warm: given(options, 'cache', 'warm') };
  const role = roleOf(made, options, manager);
  if (own === undefined) answerProbes(app, role);
  const mixed = methodsOf(role, options ?? {}, manager);
  manager.lead(role, mixed.methods);
  return mixInto(own === undefined ? app : {}, mixed);
}

module.exports = { createServer };
