// @ts-check
'use strict';

// Options as data: the core validates JSON, so values that JSON cannot express are replaced by a marker of their type.

/**
 * @param {any} value
 * @param {any[]} path the objects that contain `value`, to detect cycles
 * @returns {any}
 */
function marked(value, path = []) {
  if (typeof value === 'function') return { $function: value.name };
  if (typeof value === 'bigint' || typeof value === 'symbol') return { [`$${typeof value}`]: String(value) };
  if (typeof value === 'number' && !Number.isFinite(value)) return { $number: String(value) };
  if (value === null || typeof value !== 'object') return value;
  if (path.includes(value)) return { $circle: '' };
  const within = [...path, value];
  // A file, or the URL of a webhook.
  if (value instanceof URL) return value.href;
  if (Array.isArray(value)) return value.map((item) => marked(item, within));
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return { $object: value.constructor?.name ?? '' };
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  return Object.fromEntries(entries.map(([key, item]) => [key, marked(item, within)]));
}

/**
 * Separates the options of createServer: those that the core validates, and those only JavaScript uses.
 *
 * @param {any} options
 */
function split(options) {
  if (options === null || typeof options !== 'object') return { data: marked(options), app: undefined, server: {} };
  const { app, server, ...rest } = options;
  const withKeys = server?.key !== undefined || server?.cert !== undefined || server?.pfx !== undefined;
  const tls = withKeys || app instanceof require('node:tls').Server;
  return { data: { ...marked(rest), ...(tls ? { tls: true } : {}) }, app, server: server ?? {} };
}

/**
 * The original value at `section.key` of a ClusterConfig, for values that JSON cannot express; or undefined.
 *
 * @param {any} options createServer's, or a ClusterConfig
 * @param {string} section
 * @param {string} key
 */
function given(options, section, key) {
  const holders = [options?.cluster?.config, options?.cluster, options];
  for (const holder of holders) {
    const value = holder?.[section]?.[key];
    if (value !== undefined) return value;
  }
  return undefined;
}

module.exports = { given, marked, split };
