// @ts-check
'use strict';

// The constants of the public API.

const { addon } = require('../native');

const WorkerState = Object.freeze({
  STARTING: 'starting',
  RUNNING: 'running',
  STOPPING: 'stopping',
  STOPPED: 'stopped',
  ERROR: 'error',
});

const ClusterState = Object.freeze({
  INITIALIZING: 'initializing',
  STARTING: 'starting',
  RUNNING: 'running',
  SCALING: 'scaling',
  STOPPING: 'stopping',
  STOPPED: 'stopped',
  ERROR: 'error',
});

const DEFAULT_VALUES = Object.freeze(addon === null ? {} : addon.defaultValues());

module.exports = { ClusterState, DEFAULT_VALUES, WorkerState };
