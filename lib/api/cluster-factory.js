// @ts-check
'use strict';

// Creates managers: the factory and the step-by-step builder. Configurations are data here; the core validates and
// recommends.

const { addon } = require('../native');
const { ConfigurationError, unwrap } = require('../errors');
const { ClusterManager } = require('./cluster-manager');
const { marked } = require('../options');
const { snapshot } = require('../process/environment');

/** @type {ClusterFactory | null} */
let instance = null;

class ClusterFactory {
  static getInstance() {
    instance ??= new ClusterFactory();
    return instance;
  }

  /** @param {any} config */
  create(config) {
    return new ClusterManager(config);
  }

  createWithDefaults() {
    return this.create(this.getIntelligentDefaults());
  }

  /** @param {string} name */
  createForEnvironment(name) {
    return this.create(this.getEnvironmentConfig(name));
  }

  /** @param {any} config */
  validateConfig(config) {
    try {
      unwrap(new addon.Configuration({ standalone: true, options: marked(config), env: {} }).outcome);
      return { valid: true, errors: [] };
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error;
      const textOf = (/** @type {any} */ fault) =>
        `${fault.path}: found ${fault.found}, allowed ${fault.allowed}${fault.hint ? ` (${fault.hint})` : ''}`;
      return { valid: false, errors: error.details.faults.map(textOf) };
    }
  }

  /** @param {string} serverType 'api', 'web', 'microservice' or 'worker' */
  getRecommendedConfig(serverType) {
    return preset(serverType);
  }

  /** @param {any} base @param {any} override */
  mergeConfigs(base, override) {
    return addon.mergeConfigs(marked(base), marked(override));
  }

  getIntelligentDefaults() {
    return addon === null ? {} : addon.intelligentConfig(snapshot());
  }

  /** @param {string} name 'development', 'production' or 'test' */
  getEnvironmentConfig(name) {
    return preset(name);
  }
}

/** @param {string} name */
function preset(name) {
  // Clustering is off with this preset.
  if (addon === null) return {};
  const config = addon.presetConfig(name);
  if (config === null) throw new ConfigurationError(`There is no preset ${JSON.stringify(name)}`, 'CONFIGURATION_INVALID');
  return config;
}

/** Builds a configuration step by step. Later steps override earlier ones. */
class ClusterBuilder {
  /** @type {any} */
  #config = {};

  /** @param {any} part */
  #with(part) {
    for (const [key, value] of Object.entries(part)) {
      const both = isPlain(this.#config[key]) && isPlain(value);
      this.#config[key] = both ? { ...this.#config[key], .../** @type {any} */ (value) } : value;
    }
    return this;
  }

  /** @param {number | 'auto'} count */
  withWorkers(count) {
    return this.#with({ workers: count });
  }
  /** @param {any} config */
  withHealthCheck(config) {
    return this.#with({ healthCheck: config });
  }
  /** @param {any} config */
  withAutoScaling(config) {
    return this.#with({ autoScaling: config });
  }
  /** @param {string} strategy @param {any} [options] */
  withLoadBalancing(strategy, options = {}) {
    return this.#with({ loadBalancing: { ...options, strategy } });
  }
  /** @param {any} config */
  withMonitoring(config) {
    return this.#with({ monitoring: config });
  }
  /** @param {any} config */
  withSecurity(config) {
    return this.#with({ security: config });
  }
  /** @param {any} config */
  withResilience(config) {
    return this.#with({ errorHandling: config });
  }
  enableDevelopmentMode() {
    return this.#under('development');
  }
  enableProductionMode() {
    return this.#under('production');
  }

  /** Applies a preset; options that are set already override it. @param {string} name */
  #under(name) {
    const earlier = this.#config;
    this.#config = preset(name);
    return this.#with(earlier);
  }

  build() {
    return { ...this.#config };
  }

  create() {
    return new ClusterManager(this.build());
  }
}

/** @param {any} value */
function isPlain(value) {
  return value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype;
}

function buildCluster() {
  return new ClusterBuilder();
}

module.exports = { ClusterFactory, buildCluster };
