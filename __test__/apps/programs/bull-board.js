'use strict';

module.exports = {
  versions: { bullmq: '6.7.0', ioredis: '6.0.0', express: '5.3.0', '@bull-board/api': '9.10.2', '@bull-board/express': '9.10.1' },
  needs: ['redis'],
  files: {
    'server.js': `
      const express = require('express');
      const { Queue } = require('bullmq');
      const { createBullBoard } = require('@bull-board/api');
      const { BullMQAdapter } = require('@bull-board/api/bullMQAdapter');
      const { ExpressAdapter } = require('@bull-board/express');
      const queue = new Queue('mails', { connection: { host: '127.0.0.1', port: Number(process.env.REDIS) } });
      const serverAdapter = new ExpressAdapter();
      serverAdapter.setBasePath('/queues');
      createBullBoard({ queues: [new BullMQAdapter(queue)], serverAdapter });
      const app = express().use('/queues', serverAdapter.getRouter());
      const server = app.listen(process.env.PORT, process.env.HOST);
      process.on('SIGTERM', () => server.close(async () => {
        await queue.close();
        console.log('CLEANED');
      }));`,
  },
  env: ({ services }) => ({ REDIS: String(services.redis.port) }),
  ask: async ({ get }) => {
    const { status, body } = await get('/queues/api/queues');
    const { queues } = JSON.parse(body);
    return [status, queues.map(({ name, counts }) => ({ name, counts })), (await get('/queues/')).status];
  },
  says: /200.*mails.*200/,
  hook: /CLEANED/,
};
