'use strict';

// A cache handler for Next.js 16 (`cacheHandler` in next.config.js): its pages, route handlers and fetched data are in the
// cache that all workers share. What one worker has made, all have, and revalidateTag and revalidatePath in one hold in all.

const http = require('node:http');
const v8 = require('node:v8');
const { createServer } = require('drover');

// In a worker this is the cluster's cache; in one process, and in `next build`, a cache of the process.
const { cache } = createServer({ app: http.createServer(), cluster: { enabled: false } });
const entries = cache.namespace('next');
// When tags were revalidated, for what older entries have them. Next.js tells only when it reads data which pages use it
// (`softTags`), so the tags that it was stored with are not enough.
const [expirations, revalidations] = [cache.namespace('next-expired'), cache.namespace('next-revalidated')];

/** The cache's own tags are of all namespaces: a program may have tags of the same names. */
const own = (tag) => `next:${tag}`;

/** The tags of what Next.js stores: those of pages are in a header. */
function tagsOf(value, { tags = [] }) {
  const header = value?.headers?.['x-next-cache-tags'];
  return [...tags, ...(typeof header === 'string' ? header.split(',') : [])];
}

module.exports = class CacheHandler {
  async get(key, { tags = [], softTags = [] }) {
    const stored = entries.get(key);
    if (stored === undefined) return null;
    const { value, lastModified, cacheControl, tags: storedWith } = v8.deserialize(stored);
    const all = [...storedWith, ...tags, ...softTags];
    if (expirations.getMany(all).some((time) => time >= lastModified)) return null;
    const revalidated = revalidations.getMany(all).filter((one) => one?.time >= lastModified);
    if (revalidated.some(({ until }) => until !== null && until <= Date.now())) return null;
    if (revalidated.length === 0) return { value, lastModified, cacheControl };
    // Older than any lifetime: Next.js uses it once more, and makes a new one meanwhile.
    return { value, lastModified: 1, cacheControl: cacheControl && { revalidate: 1, expire: undefined } };
  }

  async set(key, value, context) {
    const { cacheControl } = context;
    const tags = tagsOf(value, context);
    const entry = v8.serialize({ value, lastModified: Date.now(), cacheControl, tags });
    // Seconds; without it the entry stays until there is no room for it.
    const ttl = typeof cacheControl?.expire === 'number' ? cacheControl.expire * 1000 : 0;
    await entries.set(key, entry, { ttl, tags: tags.map(own) });
  }

  /**
   * `durations`: what has the tags is used while new values are made, for `expire` seconds at most; without it, or with
   * `expire: 0`, it is not used any more.
   */
  async revalidateTag(tags, durations) {
    const all = [tags].flat();
    const now = Date.now();
    if (durations && durations.expire !== 0) {
      const until = durations.expire === undefined ? null : now + durations.expire * 1000;
      await Promise.all(all.map((tag) => revalidations.set(tag, { time: now, until }, { ttl: 0 })));
    } else {
      await Promise.all(all.map((tag) => expirations.set(tag, now, { ttl: 0 })));
      // They need not take room until somebody asks for them.
      await entries.invalidateTags(all.map(own));
    }
  }

  /** Nothing is kept for a request alone. */
  resetRequestCache() {}
};
