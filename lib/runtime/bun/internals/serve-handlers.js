// @ts-check
'use strict';

// The handlers of `Bun.serve`: `fetch`, those of `routes`, also by method, and `websocket`. Responses without a handler (static routes)
// are not seen.
//
// Relies on: `Bun.serve(options)` and `reload(options)` of its server, which take the handlers from `options` and call them with
// a request; the headers of a response that a handler has returned can be changed, and `Connection: close` among them ends the
// connection.
// Seen on: Bun 1.4.4, 1.4.5.

const { parsed } = require('./header-lines');
const { hookedWebSocket } = require('./serve-web-sockets');

/**
 * @typedef {object} FetchHooks
 * @property {(request: any, server: any) => number} begun called with each request; its result is passed to `finished`
 * @property {(since: number, status: number, request: any, server: any) => boolean} finished the handler has returned (or thrown:
 * status 500); whether the connection ends with its response
 */

/** @type {FetchHooks} */
let hooks = { begun: () => 0, finished: () => false };

/** Runs each handler. @type {((request: any, handle: () => any) => any) | null} */
let running = null;

/** Status of a request that the handler has upgraded to a WebSocket: no response. */
const UPGRADED = 101;
const FAILED = 500;

/** @param {FetchHooks} given */
function onFetch(given) {
  hooks = given;
}

/** Runs the handler of each request by `run`, also of servers that listen already. @param {(request: any, handle: () => any) => any} run */
function runFetches(run) {
  running = run;
}

/** @type {((response: any, header: string) => string) | null} */
let lines = null;

/** Adds headers to each response. @param {(response: any, header: string) => string} linesOf header lines; '' for none */
function addFetchHeaderLines(linesOf) {
  lines = linesOf;
}

/** Changes headers of a response that is about to be sent. @param {any} request @param {any} response @param {boolean} isLast */
function changeHeaders(request, { headers }, isLast) {
  try {
    if (lines !== null) addLines(request, headers);
    if (isLast) headers.set('Connection', 'close');
  } catch (error) {
    // The headers of some responses cannot be changed.
    if (!(error instanceof TypeError)) throw error;
  }
}

/** @param {any} request @param {Headers} headers */
function addLines(request, headers) {
  const cookie = request.headers.get('cookie') ?? undefined;
  let header = '\r\n';
  for (const [name, value] of headers) header += `${name}: ${value}\r\n`;
  for (const [name, value] of parsed(/** @type {any} */ (lines)({ req: { headers: { cookie } } }, header))) headers.append(name, value);
}

/** @param {any} handler @param {any} own the server as drover knows it */
function hooked(handler, own) {
  const { begun, finished } = hooks;
  const answered = (/** @type {number} */ since, /** @type {any} */ request, /** @type {any} */ response) => {
    const isLast = finished(since, response?.status ?? UPGRADED, request, own);
    if ((isLast || lines !== null) && response instanceof Response) changeHeaders(request, response, isLast);
    return response;
  };
  const failed = (/** @type {number} */ since, /** @type {any} */ request, /** @type {unknown} */ error) => {
    finished(since, FAILED, request, own);
    throw error;
  };
  /** @this {any} @param {any} request @param {any} server */
  return function (request, server) {
    const since = begun(request, own);
    let response;
    try {
      response = running === null ? handler.call(this, request, server) : running(request, () => handler.call(this, request, server));
    } catch (error) {
      return failed(since, request, error);
    }
    if (!(response instanceof Promise)) return answered(since, request, response);
    return response.then(
      (found) => answered(since, request, found),
      (error) => failed(since, request, error),
    );
  };
}

/** A route: a handler, handlers by method, or a response. @param {any} route @param {any} own */
function hookedRoute(route, own) {
  if (typeof route === 'function') return hooked(route, own);
  const isPlain = route !== null && typeof route === 'object' && Object.getPrototypeOf(route) === Object.prototype;
  if (!isPlain) return route;
  return Object.fromEntries(Object.entries(route).map(([method, handler]) => [method, typeof handler === 'function' ? hooked(handler, own) : handler]));
}

/** The options with hooked handlers. @param {any} options @param {any} own the server as drover knows it */
function hookedOptions(options, own) {
  // node:http has its own handler.
  if (options === null || typeof options !== 'object' || options.onNodeHTTPRequest) return options;
  const changed = /** @type {any} */ ({});
  if (typeof options.fetch === 'function') changed.fetch = hooked(options.fetch, own);
  if (options.websocket !== null && typeof options.websocket === 'object') changed.websocket = hookedWebSocket(options.websocket, own);
  for (const name of ['routes', 'static']) {
    const routes = options[name];
    if (routes !== null && typeof routes === 'object') changed[name] = Object.fromEntries(Object.entries(routes).map(([path, route]) => [path, hookedRoute(route, own)]));
  }
  // A class instance keeps its getters and methods.
  return Object.assign(Object.create(options), options, changed);
}

/** Hooks the handlers of later `reload`s. @param {any} made @param {any} own the server as drover knows it */
function hookReload(made, own) {
  const { reload } = made;
  if (typeof reload !== 'function') return;
  made.reload = (/** @type {any} */ options) => Reflect.apply(reload, made, [hookedOptions(options, own)]);
}

module.exports = { addFetchHeaderLines, hookReload, hookedOptions, onFetch, runFetches };
