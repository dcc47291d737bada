// @ts-check
'use strict';

// Records in Redis of which this machine keeps copies, so that what it knows goes on working here while Redis is away.
//
// A copy has the version in Redis that it is of. What is changed, made or removed here during an outage makes it pending:
// it stays with its version until Redis is back, and is stored there if that version is there still. Otherwise Redis wins.
// A removal is always stored.
//
// A write that was not answered may have been done. Its mark, which Redis has with the record, tells: a pending copy knows
// the marks of its own writes.

const { ANY, NONE, REMOVED_LIFE, madeOf, removal } = require('./records');

/** @typedef {import('../../types/cache').Cache} Cache */
/** @typedef {import('./records').Records} Records */
/** @typedef {import('./records').Seen} Seen */
/** @typedef {import('./records').Stored} Stored */
/** @typedef {import('./records').Loaded} Loaded */

/**
 * `text`: empty if it was removed. `marks`: null: it is what Redis has. `sentAt`: when Redis may have got a record that
 * was made here, milliseconds since 1970; null: it has got none.
 *
 * @typedef {{ version: string, end: number, marks: string[] | null, sentAt: number | null, text: string }} Copy
 */

/** How long a copy tells that its record is gone, milliseconds: longer than what was asked before is on its way. */
const GONE_LIFE = 60_000;

/** How long one process looks for pending copies alone. */
const SETTLING_LIFE = 5000;

/** Milliseconds until what Redis has refused is tried again. */
const RETRY_INTERVAL = 1000;

/** Copies that are settled at the same time. */
const MAX_SETTLED = 32;

/** @param {string | undefined} kept @returns {Copy | undefined} */
function copyOf(kept) {
  if (kept === undefined) return undefined;
  const line = kept.indexOf('\n');
  const [version, end, marks, sentAt] = JSON.parse(kept.slice(0, line));
  return { version, end, marks, sentAt, text: kept.slice(line + 1) };
}

/** @param {Copy} copy */
const textOf = ({ version, end, marks, sentAt, text }) => `${JSON.stringify([version, end, marks, sentAt])}\n${text}`;

/** The copy of what Redis has. @param {Loaded} loaded @returns {Copy} */
const cleanOf = ({ version, end, text }) => ({ version, end, marks: null, sentAt: null, text });

/** @param {string} version */
const goneOf = (version) => cleanOf({ version, mark: '', end: Date.now() + GONE_LIFE, text: '' });

/** Of a copy. @param {Copy} copy */
function lifeOf({ end, marks, text }) {
  // A removal is kept until Redis knows it.
  if (text === '') return marks === null ? GONE_LIFE : 0;
  return end === 0 ? 0 : Math.max(end - Date.now(), 1);
}

/** Whether a pending copy replaces what Redis has. @param {Copy} copy @param {Loaded | undefined} loaded */
function prevails({ version, marks, sentAt }, loaded) {
  if (version === ANY) return true;
  if (loaded !== undefined) return loaded.version === version || (marks ?? []).includes(loaded.mark);
  // What Redis may have got once it may have lost by a removal, which it remembers for a time.
  return version === NONE && (sentAt === null || Date.now() - sentAt < REMOVED_LIFE);
}

/** @implements {Records} */
class KeptRecords {
  #records;
  #cache;
  #prefix;
  #outage;
  /** Ids of copies that this process has made pending. @type {Set<string>} */
  #pending = new Set();
  /** @type {NodeJS.Timeout | undefined} */
  #retry;

  /**
   * @param {InstanceType<typeof import('./records').FleetRecords>} records
   * @param {Cache} cache for the copies
   * @param {string} prefix of their keys
   * @param {ReturnType<typeof import('./outage').outageOf>} outage
   */
  constructor(records, cache, prefix, outage) {
    this.#records = records;
    this.#cache = cache;
    this.#prefix = prefix;
    this.#outage = outage;
    outage.onEnd(() => this.#settleSoon(0));
  }

  /** @param {string} id */
  read(id) {
    return this.#outage.try(
      () => this.#readThere(id),
      () => this.#readHere(id),
    );
  }

  /** @param {string} id @returns {Promise<Seen | undefined>} */
  async #readThere(id) {
    const kept = this.#kept(id);
    const copy = copyOf(kept);
    let loaded = await this.#records.load(id);
    if (copy !== undefined && copy.marks !== null) loaded = await this.#settle(id, loaded);
    else if (loaded !== undefined) await this.#keep(id, loaded, kept);
    else if (copy !== undefined && copy.text !== '') await this.#exchange(id, kept, goneOf(copy.version)).catch(() => false);
    return loaded === undefined || loaded.text === '' ? undefined : { text: loaded.text, seen: { version: loaded.version } };
  }

  /** @param {string} id @returns {Seen | undefined} */
  #readHere(id) {
    const kept = this.#kept(id);
    const copy = copyOf(kept);
    return copy === undefined || copy.text === '' ? undefined : { text: copy.text, seen: { kept } };
  }

  /** @param {string} id @param {string} text @param {number} life */
  write(id, text, life) {
    return this.#put(id, madeOf(text, life), (copy) => {
      if (copy === undefined) return NONE;
      return copy.text === '' ? ANY : copy.version;
    });
  }

  /** @param {string} id */
  remove(id) {
    return this.#put(id, removal(), () => ANY);
  }

  /**
   * Stores a record whatever is there.
   *
   * @param {string} id
   * @param {Stored} made
   * @param {(copy: Copy | undefined) => string} versionOf what it replaces in Redis after an outage
   */
  #put(id, made, versionOf) {
    const kept = this.#kept(id);
    return this.#outage.try(
      async () => {
        const version = await this.#records.store(id, made, ANY);
        if (version !== undefined) await this.#keep(id, { ...made, version }, kept);
      },
      async (failure) => {
        for (;;) {
          const now = this.#kept(id);
          const copy = copyOf(now);
          if (await this.#exchange(id, now, this.#pendingOf(versionOf(copy), copy, made, failure !== undefined))) break;
        }
        await this.#hasPending(id);
      },
    );
  }

  /**
   * The copy of what was written here.
   *
   * @param {string} version
   * @param {Copy | undefined} copy that it replaces
   * @param {Stored} made
   * @param {boolean} wasTried Redis may have it
   * @returns {Copy}
   */
  #pendingOf(version, copy, { mark, end, text }, wasTried) {
    const marks = copy?.marks ?? [mark];
    const sentAt = copy?.sentAt ?? (wasTried ? Date.now() : null);
    return { version, end, marks: wasTried && !marks.includes(mark) ? [...marks, mark] : marks, sentAt, text };
  }

  /** @param {string} id @param {{ version?: string, kept?: string }} seen @param {string} text @param {number} life */
  replace(id, seen, text, life) {
    const made = madeOf(text, life);
    if (seen.kept !== undefined) return this.#replaceHere(id, seen.kept, made, false);
    const expected = /** @type {string} */ (seen.version);
    return this.#outage.try(
      async () => {
        const kept = this.#kept(id);
        const version = await this.#records.store(id, made, expected);
        if (version !== undefined) await this.#keep(id, { ...made, version }, kept);
        return version !== undefined;
      },
      async (failure) => {
        const wasTried = failure !== undefined;
        for (;;) {
          const kept = this.#kept(id);
          const copy = copyOf(kept);
          if (kept === undefined || copy === undefined) {
            if (wasTried) throw failure;
            return false;
          }
          if (copy.version !== expected || copy.text === '') return false;
          if (copy.marks === null) {
            if (await this.#replaceHere(id, kept, made, wasTried)) return true;
          } else {
            // Another process was faster. What Redis may have got of this one is this machine's too.
            if (!wasTried || (await this.#exchange(id, kept, { ...copy, marks: [...copy.marks, made.mark] }))) return false;
          }
        }
      },
    );
  }

  /** @param {string} id @param {string} kept @param {Stored} made @param {boolean} wasTried */
  async #replaceHere(id, kept, made, wasTried) {
    const copy = /** @type {Copy} */ (copyOf(kept));
    if (!(await this.#exchange(id, kept, this.#pendingOf(copy.version, copy, made, wasTried)))) return false;
    await this.#hasPending(id);
    return true;
  }

  // The names of all records are in Redis alone.

  all() {
    return this.#records.all();
  }

  async clear() {
    await this.#records.clear();
    await this.#cache.invalidate(`${this.#prefix}*`);
  }

  // The copies.

  /** @param {string} id @returns {string | undefined} */
  #kept(id) {
    return this.#cache.get(this.#prefix + id);
  }

  /** @param {string} id @param {string | undefined} kept what is there @param {Copy} copy */
  #exchange(id, kept, copy) {
    return this.#cache.compareAndSet(this.#prefix + id, kept, textOf(copy), { ttl: lifeOf(copy) });
  }

  /**
   * Keeps a copy of what Redis has, unless a newer one is there, or a pending one.
   *
   * @param {string} id
   * @param {Loaded} loaded
   * @param {string | undefined} before what was there before Redis was asked: Redis has known it
   */
  async #keep(id, loaded, before) {
    const copy = cleanOf(loaded);
    for (;;) {
      const kept = this.#kept(id);
      const found = copyOf(kept);
      if (found !== undefined) {
        if (found.marks === null && found.version === copy.version) return;
        if (kept !== before && (found.marks !== null || Number(found.version) > Number(copy.version))) return;
      }
      try {
        if (await this.#exchange(id, kept, copy)) return;
      } catch {
        // Redis has it: without room for a copy only an outage ends the session here.
        return;
      }
    }
  }

  /** A copy is pending. If Redis is there (again), nobody would settle it until it is read. @param {string} id */
  async #hasPending(id) {
    this.#pending.add(id);
    if (this.#outage.isAway) return;
    await this.#outage.try(
      async () => void (await this.#settle(id)),
      () => this.#settleSoon(RETRY_INTERVAL),
    );
  }

  /**
   * Brings a pending copy and Redis together; resolves to what Redis has then.
   *
   * @param {string} id
   * @param {Loaded} [known] what it had before; by default it is asked
   */
  async #settle(id, known) {
    let loaded = known ?? (await this.#records.load(id));
    for (;;) {
      const kept = this.#kept(id);
      const copy = copyOf(kept);
      if (copy === undefined || copy.marks === null) {
        if (loaded !== undefined) await this.#keep(id, loaded, kept);
        this.#pending.delete(id);
        return loaded;
      }
      if (copy.version === NONE && copy.sentAt === null) {
        // From now on Redis may have got it.
        await this.#exchange(id, kept, { ...copy, sentAt: Date.now() });
        continue;
      }
      /** @type {Loaded | undefined} */
      let now = loaded;
      if (prevails(copy, loaded)) {
        const made = copy.text === '' ? { ...removal(), mark: copy.marks[0] } : { mark: copy.marks[0], end: copy.end, text: copy.text };
        const version = await this.#records.store(id, made, loaded?.version ?? NONE);
        now = version === undefined ? undefined : { ...made, version };
        if (now === undefined) {
          loaded = await this.#records.load(id);
          continue;
        }
      }
      if (await this.#exchange(id, kept, now === undefined ? goneOf(copy.version) : cleanOf(now))) {
        this.#pending.delete(id);
        return now;
      }
      loaded = await this.#records.load(id);
    }
  }

  /** Settles what is pending, until that is done or Redis is away again. @param {number} time until then, in milliseconds */
  #settleSoon(time) {
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => {
      this.#settleAll().catch(({ code }) => {
        // Other failures are of the cache, which has ended with its cluster.
        if (code === 'FLEET_UNAVAILABLE' && !this.#outage.isAway) this.#settleSoon(RETRY_INTERVAL);
      });
    }, time);
    this.#retry.unref();
  }

  async #settleAll() {
    await this.#settleEach(this.#pending);
    // What processes have left that are gone, one process looks for.
    const turn = `${this.#prefix}\nsettling`;
    if (!(await this.#cache.compareAndSet(turn, undefined, true, { ttl: SETTLING_LIFE }))) return;
    const others = [];
    for await (const key of this.#cache.keys()) {
      if (key === turn || !key.startsWith(this.#prefix)) continue;
      const id = key.slice(this.#prefix.length);
      const copy = copyOf(this.#kept(id));
      if (copy !== undefined && copy.marks !== null) others.push(id);
    }
    await this.#settleEach(others);
  }

  /** Rejects when all are done but some. @param {Iterable<string>} ids */
  async #settleEach(ids) {
    const all = [...ids];
    let failure;
    for (let at = 0; at < all.length && !this.#outage.isAway; at += MAX_SETTLED) {
      const results = await Promise.allSettled(all.slice(at, at + MAX_SETTLED).map((id) => this.#settle(id)));
      failure ??= results.find(({ status }) => status === 'rejected');
    }
    if (failure !== undefined) throw /** @type {PromiseRejectedResult} */ (failure).reason;
  }
}

exports.KeptRecords = KeptRecords;
