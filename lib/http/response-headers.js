// @ts-check
'use strict';

// Header lines that drover adds to HTTP/1 responses: X-Worker-ID and X-Worker-PID, and the affinity cookie. They are
// inserted into the header block that Node has generated. `setHeader` would change what the program sends: a response
// with headers set treats an array given to `writeHead` differently, and `getHeaders()` would show them.

const { AFFINITY_MISMATCH } = require('../metrics/cells');
const { addon } = require('../native');
const runtime = require('../runtime');

const CRLF = '\r\n';

/** @typedef {(response: any, header: string) => string} Lines the lines for a response whose header block is `header` */

/** @param {import('../worker/worker').Worker} worker */
function addLines(worker) {
  const { worker_headers: named, affinity } = worker.hello;
  /** @type {Lines[]} */
  const sources = [];
  if (named) sources.push(workerLines(worker.id));
  if (affinity) sources.push(cookieLines(worker, affinity));
  if (sources.length === 0) return;

  runtime.addHeaderLines((response, header) => {
    let lines = '';
    for (const linesOf of sources) lines += linesOf(response, header);
    return lines;
  });
}

/**
 * The worker's headers, unless the program has set headers of these names itself.
 *
 * @param {string} id
 * @returns {Lines}
 */
function workerLines(id) {
  const idLine = `X-Worker-ID: ${id}${CRLF}`;
  const pidLine = `X-Worker-PID: ${process.pid}${CRLF}`;
  const both = idLine + pidLine;
  return (response, header) => {
    if (!/\r\nx-worker-(?:id|pid):/i.test(header)) return both;
    return (/\r\nx-worker-id:/i.test(header) ? '' : idLine) + (/\r\nx-worker-pid:/i.test(header) ? '' : pidLine);
  };
}

/**
 * The affinity cookie with this worker's slot, for a client without a valid one.
 *
 * @param {import('../worker/worker').Worker} worker
 * @param {{ name: string, value: string, attributes: string, key: string }} affinity
 * @returns {Lines}
 */
function cookieLines(worker, affinity) {
  const line = `Set-Cookie: ${affinity.name}=${affinity.value}${affinity.attributes}${CRLF}`;
  return (response) => {
    const value = cookieOf(response.req?.headers.cookie, affinity.name);
    if (value === affinity.value) return '';
    if (value === undefined || addon.affinitySlot(value, affinity.key) < 0) return line;
    // The connection is shared by several clients (a proxy), or the cookie's worker could not take it: the client keeps
    // its cookie.
    worker.cells[AFFINITY_MISMATCH] += 1;
    worker.hint(
      'A request came to another worker than its affinity cookie names: its connection was shared or its worker away.',
    );
    return '';
  };
}

/** @param {string | undefined} header @param {string} name */
function cookieOf(header, name) {
  if (header === undefined) return undefined;
  for (const pair of header.split(';')) {
    const at = pair.indexOf('=');
    if (at > 0 && pair.slice(0, at).trim() === name) return pair.slice(at + 1).trim();
  }
  return undefined;
}

module.exports = { addLines };
