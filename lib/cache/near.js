// @ts-check
'use strict';

// What this process has read of the cache, so that it need not be copied again. Whether it is still valid is for the
// memory to say. Two maps: when the newer one is full, what was not read in the older one is forgotten.

/** Bytes for the keys and values that are kept in all namespaces together. */
const MAX_BYTES = 16 << 20;
/** Larger values are copied each time. */
const MAX_VALUE = 64 << 10;
/** Bytes of an entry besides its key and value. */
const BESIDE = 120;

/** @typedef {import('./memory').Found} Found */

/** Of one namespace. */
class Near {
  constructor() {
    /** @type {Map<string, Found>} */
    this.newer = new Map();
    /** @type {Map<string, Found>} */
    this.older = new Map();
  }

  /** What is not among the newer. @param {string} key */
  recall(key) {
    const found = this.older.get(key);
    if (found !== undefined) found.isUsed = true;
    return found;
  }

  /** @param {string} key */
  drop(key) {
    this.newer.delete(key);
    this.older.delete(key);
  }

  forget() {
    this.newer = new Map();
    this.older = new Map();
  }

  /** Returns the bytes that the new newer map begins with. */
  turnOver() {
    const { older } = this;
    this.older = this.newer;
    this.newer = new Map();
    let bytes = 0;
    for (const [key, found] of older) {
      if (!found.isUsed) continue;
      found.isUsed = false;
      this.newer.set(key, found);
      bytes += bytesOf(key, found);
    }
    return bytes;
  }
}

/** @param {string} key @param {Found} found */
function bytesOf(key, found) {
  return BESIDE + key.length + found.size;
}

/** The maps of all namespaces. */
class NearMaps {
  constructor() {
    /** @type {Near[]} */
    this.all = [];
    /** Of the newer maps. */
    this.bytes = 0;
  }

  /** The map of a new namespace. */
  add() {
    const near = new Near();
    this.all.push(near);
    return near;
  }

  /** The cache has another memory: nothing that was read is valid there. */
  forget() {
    this.all.forEach((near) => near.forget());
    this.bytes = 0;
  }

  /** @param {Near} near @param {string} key @param {Found} found */
  keep(near, key, found) {
    if (found.size > MAX_VALUE) return;
    near.newer.set(key, found);
    this.bytes += bytesOf(key, found);
    if (this.bytes < MAX_BYTES / 2) return;
    this.bytes = this.all.reduce((sum, one) => sum + one.turnOver(), 0);
  }
}

module.exports = { NearMaps };
