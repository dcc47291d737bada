// A reporter of node:test: a line of JSON for each test that has passed, failed or was skipped.

import path from 'node:path';

/** @param {AsyncIterable<{ type: string, data: any }>} source */
export default async function* results(source) {
  for await (const { type, data } of source) {
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    const { name, file, skip, todo, nesting, details } = data;
    if (nesting !== 0 || todo) continue;
    const error = details?.error;
    const message = String(error?.cause?.message ?? error?.message ?? '').split('\n').slice(0, 12).join('\n');
    yield `${JSON.stringify({ file: path.basename(file ?? ''), name, outcome: skip === undefined ? type.slice('test:'.length) : 'skip', ms: Math.round(details?.duration_ms ?? 0), message })}\n`;
  }
}
