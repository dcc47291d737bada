// @ts-check
'use strict';

// `monitoring.customMetrics` and `monitoring.exporters`: functions of the program that run in the primary every
// metricsInterval. One that fails or never ends does not affect anything else.

const { given } = require('../options');
const { pauseAfter, retryOf } = require('../retry');

/** Timeout of customMetrics, milliseconds. */
const MEASURE_TIMEOUT = 5000;

/**
 * The functions in the options of `monitoring`; the core has checked their types.
 *
 * @param {any} options createServer's, or a ClusterConfig
 * @returns {{ customMetrics?: Function, exporters: Function[] }}
 */
function functionsOf(options) {
  const exporters = given(options, 'monitoring', 'exporters') ?? [];
  return { customMetrics: given(options, 'monitoring', 'customMetrics'), exporters: [exporters].flat() };
}

/** @param {unknown} error */
function textOf(error) {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

/** Logs a function's failure once, until it works again. */
class Complaints {
  /** @param {(text: string) => void} warn */
  constructor(warn) {
    this.warn = warn;
    this.last = '';
  }

  /** @param {string} text */
  add(text) {
    if (this.last !== text) this.warn(text);
    this.last = text;
  }

  clear() {
    this.last = '';
  }
}

class CustomMetrics {
  /** @param {Function} measure @param {number} timeout milliseconds @param {(text: string) => void} warn */
  constructor(measure, timeout, warn) {
    this.measure = measure;
    this.timeout = timeout;
    this.complaints = new Complaints(warn);
    this.isRunning = false;
    /** The latest result as JSON; null once it was passed to the core. @type {string | null} */
    this.text = null;
  }

  /** Resolves to the new result when it is available or the timeout has passed, else to null. @param {any[]} workers */
  async next(workers) {
    if (this.isRunning) this.complaints.add('monitoring.customMetrics still runs: its last result is kept');
    else await this.withTimeout(this.run(workers));
    const { text } = this;
    this.text = null;
    return text;
  }

  /** @param {any[]} workers */
  async run(workers) {
    this.isRunning = true;
    try {
      // The core reports values that JSON cannot express.
      this.text = JSON.stringify(await this.measure(workers)) ?? 'undefined';
    } catch (error) {
      this.complaints.add(`monitoring.customMetrics failed, its last result is kept: ${textOf(error)}`);
    } finally {
      this.isRunning = false;
    }
  }

  /** @param {Promise<void>} run */
  async withTimeout(run) {
    /** @type {NodeJS.Timeout | undefined} */
    let timer;
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, this.timeout);
      timer.unref();
    });
    await Promise.race([run, late]);
    clearTimeout(timer);
  }

  /** Reports whether the core accepted the result. @param {any} outcome */
  recorded({ error }) {
    if (error) this.complaints.add(`monitoring.customMetrics must return an object: ${error.message}`);
    else if (!this.isRunning) this.complaints.clear();
  }
}

class Exporter {
  /**
   * @param {Function} send
   * @param {string} name
   * @param {import('../retry').Retry} retry
   * @param {(text: string) => void} warn
   */
  constructor(send, name, retry, warn) {
    this.send = send;
    this.name = name;
    this.retry = retry;
    this.complaints = new Complaints(warn);
    this.isRunning = false;
    /** Ends a delay between two attempts. @type {() => void} */
    this.wake = () => {};
    this.over = false;
  }

  /** @param {any} metrics */
  async run(metrics) {
    if (this.isRunning) return this.complaints.add(`${this.name} still runs: metrics are not given to it meanwhile`);
    this.isRunning = true;
    for (let tries = 0; !this.over; tries += 1) {
      try {
        await this.send(structuredClone(metrics));
        this.complaints.clear();
        break;
      } catch (error) {
        const pause = pauseAfter(this.retry, tries);
        if (pause === null) {
          this.complaints.add(`${this.name} failed ${tries + 1} times, its metrics are lost: ${textOf(error)}`);
          break;
        }
        await this.pause(pause);
      }
    }
    this.isRunning = false;
  }

  /** @param {number} milliseconds @returns {Promise<void>} */
  pause(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Cancels further attempts. */
  end() {
    this.over = true;
    this.wake();
  }
}

/** The reporting functions of one cluster, from its start to its end. */
class Reporting {
  /**
   * @param {ReturnType<typeof functionsOf>} functions
   * @param {any} config with every default
   * @param {any} core
   */
  constructor({ customMetrics, exporters }, config, core) {
    this.core = core;
    const warn = (/** @type {string} */ text) => core.warn(text);
    const timeout = Math.min(MEASURE_TIMEOUT, config.monitoring.metricsInterval);
    this.custom = customMetrics === undefined ? null : new CustomMetrics(customMetrics, timeout, warn);
    const named = (/** @type {Function} */ send, /** @type {number} */ index) =>
      `monitoring.exporters${exporters.length > 1 ? `[${index}]` : ''}${send.name ? ` (${send.name})` : ''}`;
    const retry = retryOf(config);
    this.exporters = exporters.map((send, index) => new Exporter(send, named(send, index), retry, warn));
  }

  /** Called by the core: gets the custom metrics, and then the core emits the metrics. */
  async measure() {
    const text = (await this.custom?.next(sampled(this.core.workers()))) ?? null;
    const outcome = this.core.customised(text);
    if (text !== null) this.custom?.recorded(outcome);
  }

  /** @param {any} metrics */
  export(metrics) {
    for (const exporter of this.exporters) exporter.run(metrics);
  }

  end() {
    for (const exporter of this.exporters) exporter.end();
  }
}

exports.Reporting = Reporting;
exports.functionsOf = functionsOf;

/** Replaces values that were not sampled yet by 0, so that they can be summed. @param {any[]} workers */
function sampled(workers) {
  return workers.map((worker) => ({
    ...worker,
    memoryUsage: worker.memoryUsage ?? 0,
    cpuUsage: worker.cpuUsage ?? 0,
    eventLoopLag: worker.eventLoopLag ?? 0,
  }));
}
