'use strict';

module.exports = {
  versions: { bullmq: '6.7.0', ioredis: '6.0.0' },
  needs: ['redis'],
  files: {
    'server.js': `
      const { Worker } = require('bullmq');
      const connection = { host: '127.0.0.1', port: Number(process.env.REDIS), maxRetriesPerRequest: null };
      const worker = new Worker('sums', async ({ data }) => data.reduce((a, b) => a + b), { connection, lockDuration: 2000, stalledInterval: 1000 });
      worker.on('error', (error) => console.error(error));
      process.on('SIGTERM', async () => {
        await worker.close();
        console.log('CLEANED');
        process.exit(0);
      });`,
  },
  env: ({ services }) => ({ REDIS: String(services.redis.port) }),
  // It never listens.
  config: { processManagement: { ready: 'boot' } },
  client: async ({ require, services }) => {
    const { Queue, QueueEvents } = require('bullmq');
    const connection = { host: '127.0.0.1', port: services.redis.port };
    const queue = new Queue('sums', { connection });
    // From the first event on: one that comes before the first read would be missed.
    const events = new QueueEvents('sums', { connection, lastEventId: '0-0' });
    await events.waitUntilReady();
    const ask = async () => (await queue.add('sum', [1, 2, 3], { removeOnComplete: 1000 })).waitUntilFinished(events, 12_000);
    const close = async () => {
      await events.close();
      await queue.close();
    };
    return { ask, close };
  },
  says: /6/,
  hook: /CLEANED/,
};
