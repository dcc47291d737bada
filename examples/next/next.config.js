'use strict';

module.exports = {
  cacheHandler: require.resolve('./cache-handler.js'),
  // Next.js' own cache in memory would be one for each worker.
  cacheMaxMemorySize: 0,
};
