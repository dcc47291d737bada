// @ts-check
'use strict';

// The handlers of `Bun.serve`: `fetch`, and those of `routes`, also by method. Responses without a handler (static routes)
// are not seen.
//
// Relies on: `Bun.serve(options)` and `reload(options)` of its server, which take the handlers from `options`.
// Seen on: Bun 1.4.4, 1.4.5.

/**
 * @typedef {object} FetchHooks
 * @property {() => number} begun called with each request; its result is passed to `finished`
 * @property {(since: number, status: number, request: any, response: any) => void} finished the handler has returned (or
 * thrown: no response, status 500)
 */

/** @type {FetchHooks} */
let hooks = { begun: () => 0, finished() {} };

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

/** @param {any} handler */
function hooked(handler) {
  const { begun, finished } = hooks;
  /** @this {any} @param {any} request @param {any} server */
  return function (request, server) {
    const since = begun();
    let response;
    try {
      response = running === null ? Reflect.apply(handler, this, [request, server]) : running(request, () => Reflect.apply(handler, this, [request, server]));
    } catch (error) {
      finished(since, FAILED, request, undefined);
      throw error;
    }
    if (!(response instanceof Promise)) {
      finished(since, response?.status ?? UPGRADED, request, response);
      return response;
    }
    return response.then(
      (found) => {
        finished(since, found?.status ?? UPGRADED, request, found);
        return found;
      },
      (error) => {
        finished(since, FAILED, request, undefined);
        throw error;
      },
    );
  };
}

/** A route: a handler, handlers by method, or a response. @param {any} route */
function hookedRoute(route) {
  if (typeof route === 'function') return hooked(route);
  const isPlain = route !== null && typeof route === 'object' && Object.getPrototypeOf(route) === Object.prototype;
  if (!isPlain) return route;
  return Object.fromEntries(Object.entries(route).map(([method, handler]) => [method, typeof handler === 'function' ? hooked(handler) : handler]));
}

/** The options with hooked handlers. @param {any} options */
function hookedOptions(options) {
  // node:http has its own handler.
  if (options === null || typeof options !== 'object' || options.onNodeHTTPRequest) return options;
  const own = /** @type {any} */ ({});
  if (typeof options.fetch === 'function') own.fetch = hooked(options.fetch);
  for (const name of ['routes', 'static']) {
    const routes = options[name];
    if (routes !== null && typeof routes === 'object') own[name] = Object.fromEntries(Object.entries(routes).map(([path, route]) => [path, hookedRoute(route)]));
  }
  // A class instance keeps its getters and methods.
  return Object.assign(Object.create(options), options, own);
}

/** Hooks the handlers of later `reload`s. @param {any} made */
function hookReload(made) {
  const { reload } = made;
  if (typeof reload !== 'function') return;
  made.reload = (/** @type {any} */ options) => Reflect.apply(reload, made, [hookedOptions(options)]);
}

module.exports = { hookReload, hookedOptions, onFetch, runFetches };
