// @ts-check
'use strict';

// Heap snapshots and CPU profiles of this worker, written to a file that the primary chooses, readable by this user
// only.

const fs = require('node:fs');
const v8 = require('node:v8');
const { addon } = require('../native');

/** @typedef {{ id: number, what: 'heap_snapshot' | { cpu_profile: { ms: number } }, file: string }} DiagnosisRequest */

/** Handles the primary's requests. */
function diagnose() {
  for (let request = addon.workerDiagnosis(); request !== null; request = addon.workerDiagnosis()) take(request);
}

/** @param {DiagnosisRequest} request */
async function take({ id, what, file }) {
  let made = false;
  try {
    // Fails if the file or a link of that name exists; the following code writes into this very file.
    fs.closeSync(fs.openSync(file, 'wx', 0o600));
    made = true;
    if (what === 'heap_snapshot') v8.writeHeapSnapshot(file);
    else fs.writeFileSync(file, JSON.stringify(await profile(what.cpu_profile.ms)));
    addon.workerDiagnosed(id, fs.statSync(file).size, null);
  } catch (error) {
    if (made) fs.rmSync(file, { force: true });
    addon.workerDiagnosed(id, 0, error instanceof Error ? error.message : String(error));
  }
}

/** @param {number} ms @returns {Promise<object>} */
async function profile(ms) {
  // Node.js may be built without the inspector.
  const session = new (require('node:inspector').Session)();
  session.connect();
  /** @type {(method: string) => Promise<any>} */
  const ask = (method) =>
    new Promise((resolve, reject) => session.post(method, (error, result) => (error ? reject(error) : resolve(result))));
  try {
    await ask('Profiler.enable');
    await ask('Profiler.start');
    // A worker that drains meanwhile does not wait for the profile.
    await new Promise((resolve) => setTimeout(resolve, ms).unref());
    return (await ask('Profiler.stop')).profile;
  } finally {
    session.disconnect();
  }
}

exports.diagnose = diagnose;
