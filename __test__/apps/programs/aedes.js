'use strict';

let number = 0;

module.exports = {
  versions: { aedes: '1.2.0', mqtt: '5.16.0' },
  files: {
    'server.js': `
      const { Aedes } = require('aedes');
      const { createServer } = require('node:net');
      Aedes.createBroker().then((broker) => {
        const server = createServer(broker.handle).listen(Number(process.env.PORT), process.env.HOST);
        process.on('SIGTERM', () => {
          server.close(() => console.log('CLEANED'));
          broker.close();
        });
      });`,
  },
  client: async ({ require, port }) => {
    const mqtt = require('mqtt');
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 0 });
    let isOpen = true;
    client.once('close', () => (isOpen = false));
    client.on('error', () => undefined);
    const away = new Promise((_resolve, reject) => client.once('close', () => reject(new Error('the broker went'))));
    away.catch(() => undefined);
    const talk = async () => {
      const topic = `topic/${(number += 1)}`;
      await client.subscribeAsync(topic, { qos: 1 });
      const arrives = new Promise((resolve) => client.once('message', (_topic, payload) => resolve(payload)));
      await client.publishAsync(topic, 'hello', { qos: 1 });
      const payload = await arrives;
      await client.unsubscribeAsync(topic);
      return String(payload);
    };
    return {
      ask: () => Promise.race([away, talk()]),
      close: () => (isOpen ? client.endAsync() : client.endAsync(true)),
    };
  },
  // It ends the connections of its clients, as one process does.
  away: /the broker went/,
  says: /hello/,
  hook: /CLEANED/,
};
