// @ts-check
'use strict';

// Tasks about this worker's memory, for the primary: collecting garbage, and sampling which functions allocate what stays.

const fs = require('node:fs');
const path = require('node:path');
const { fileURLToPath } = require('node:url');
const v8 = require('node:v8');
const { addon } = require('../native');
const runtime = require('../runtime');

/** Bytes of allocations between two samples, on average. */
const SAMPLING_INTERVAL = 64 * 1024;

/** Number of allocation sites that are reported. */
const SITES = 5;

/**
 * @typedef {{ functionName: string, url: string, lineNumber: number, columnNumber: number }} CallFrame
 * @typedef {{ callFrame: CallFrame, selfSize: number, children: ProfileNode[] }} ProfileNode
 * @typedef {'collect' | { sample: { maxPercent: number } } | { stop_sampling: { file: string | null } }} MemoryTask
 * @typedef {{ function: string, file: string, line: number, column: number, bytes: number }} Site
 */

/** The session that samples. @type {import('node:inspector').Session | null} */
let session = null;

/** Handles the primary's requests. */
function runMemoryTasks() {
  for (let next = addon.workerMemoryTask(); next !== null; next = addon.workerMemoryTask()) run(next);
}

/** @param {{ id: number, task: MemoryTask }} request */
async function run({ id, task }) {
  try {
    addon.workerMemoryDone(id, await carryOut(task), null);
  } catch (error) {
    addon.workerMemoryDone(id, null, error instanceof Error ? error.message : String(error));
  }
}

/** @param {MemoryTask} task @returns {Promise<object | string>} what was found */
async function carryOut(task) {
  if (task === 'collect') return { collected: collect() };
  if ('sample' in task) {
    await sample(task.sample.maxPercent);
    return 'sampling';
  }
  return { sites: await stopSampling(task.stop_sampling.file) };
}

/** Collects garbage, measured before and after. */
function collect() {
  const used = () => {
    const { heapUsed, external } = runtime.memoryUsage();
    return heapUsed + external;
  };
  const before = used();
  const began = performance.now();
  runtime.collectGarbage();
  const durationMs = performance.now() - began;
  return { before, after: used(), durationMs };
}

/** @param {import('node:inspector').Session} from @param {string} method @param {object} [parameters] @returns {Promise<any>} */
function ask(from, method, parameters) {
  return new Promise((resolve, reject) => from.post(method, parameters, (error, result) => (error ? reject(error) : resolve(result))));
}

/** @param {number} maxPercent of the heap's limit */
async function sample(maxPercent) {
  const { used_heap_size: used, heap_size_limit: limit } = v8.getHeapStatistics();
  const percent = (used / limit) * 100;
  if (percent >= maxPercent) throw new Error(`its heap is ${Math.floor(percent)} % of its limit, and sampling takes memory itself`);
  if (session !== null) return;
  // Node.js may be built without the inspector.
  session = new (require('node:inspector').Session)();
  session.connect();
  await ask(session, 'HeapProfiler.startSampling', { samplingInterval: SAMPLING_INTERVAL });
}

/** @param {string | null} file */
async function stopSampling(file) {
  const ended = session;
  session = null;
  if (ended === null) throw new Error('it was not sampled');
  try {
    const { profile } = await ask(ended, 'HeapProfiler.stopSampling');
    if (file !== null) {
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, JSON.stringify(profile), { flag: 'wx', mode: 0o600 });
    }
    return { sites: sitesOf(profile.head), bytes: file === null ? 0 : fs.statSync(file).size };
  } finally {
    ended.disconnect();
  }
}

/**
 * What each function holds, the largest first. What the runtime's own code allocates counts for the function that called it.
 *
 * @param {ProfileNode} head
 */
function sitesOf(head) {
  /** @type {Map<string, Site>} */
  const sites = new Map();
  /** A stack of recursion may be deeper than that of this function. @type {[ProfileNode, CallFrame | null][]} */
  const rest = [[head, null]];
  for (let next = rest.pop(); next !== undefined; next = rest.pop()) {
    const [{ callFrame, selfSize, children }, caller] = next;
    const isOwn = callFrame.url !== '' && !callFrame.url.startsWith('node:');
    const frame = isOwn ? callFrame : caller;
    if (frame !== null && selfSize > 0) {
      const key = `${frame.url}:${frame.lineNumber}:${frame.columnNumber}`;
      const site = sites.get(key) ?? siteOf(frame);
      site.bytes += selfSize;
      sites.set(key, site);
    }
    for (const child of children) rest.push([child, frame]);
  }
  return [...sites.values()].sort((a, b) => b.bytes - a.bytes).slice(0, SITES);
}

/** @param {CallFrame} frame @returns {Site} */
function siteOf({ functionName, url, lineNumber, columnNumber }) {
  const file = url.startsWith('file:') ? fileURLToPath(url) : url;
  return { function: functionName, file, line: lineNumber + 1, column: columnNumber + 1, bytes: 0 };
}

module.exports = { runMemoryTasks };
