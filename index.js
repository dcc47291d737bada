// @ts-check
'use strict';

// The exports of the package. They are written out by name, so that `import { createServer } from 'drover'` works.

const { heldPackage, keepPackage } = require('./lib/process/copies');
const runtime = require('./lib/runtime');

// A compiled program has no preload, and becomes a worker here.
if (process.env.DROVER_CHANNEL !== undefined && runtime.isStandalone()) require('./lib/preload');

const shared = heldPackage();
if (shared !== null) {
  // In a worker every copy of the package exports the copy that attached the worker.
  module.exports = shared;
} else {
  const { createServer } = require('./lib/api/create-server');
  const { requestId } = require('./lib/http/request-ids');
  const { ClusterManager } = require('./lib/api/cluster-manager');
  const { ClusterFactory, buildCluster } = require('./lib/api/cluster-factory');
  const { IPCManager } = require('./lib/api/ipc-manager');
  const { MemoryManager } = require('./lib/api/memory-manager');
  const { ProcessMonitor } = require('./lib/api/process-monitor');
  const { ClusterState, DEFAULT_VALUES, WorkerState } = require('./lib/api/constants');
  const {
    ClusterError,
    ConfigurationError,
    HealthCheckError,
    ResourceExhaustionError,
    WorkerCommunicationError,
    WorkerStartupError,
  } = require('./lib/errors');

  module.exports = {
    createServer,
    requestId,
    ClusterManager,
    BunClusterManager: ClusterManager,
    RobustClusterManager: ClusterManager,
    ClusterFactory,
    buildCluster,
    IPCManager,
    BunIPCManager: IPCManager,
    MemoryManager,
    ProcessMonitor,
    ClusterError,
    ConfigurationError,
    HealthCheckError,
    ResourceExhaustionError,
    WorkerCommunicationError,
    WorkerStartupError,
    ClusterState,
    WorkerState,
    DEFAULT_VALUES,
  };
  keepPackage(module.exports);
}
