'use strict';

let number = 0;

module.exports = {
  versions: { '@hocuspocus/server': '4.7.0', '@hocuspocus/provider': '4.8.0', yjs: '13.6.33', 'y-protocols': '1.0.6', ws: '8.23.0' },
  node: 22,
  main: 'server.mjs',
  files: {
    'server.mjs': `
      import { Server } from '@hocuspocus/server';
      const server = new Server({
        address: process.env.HOST,
        port: Number(process.env.PORT),
        quiet: true,
        onDestroy: async () => console.log('CLEANED'),
      });
      server.listen();`,
  },
  client: ({ require, port }) => {
    const { HocuspocusProvider, HocuspocusProviderWebsocket } = require('@hocuspocus/provider');
    const Y = require('yjs');
    const websocketProvider = new HocuspocusProviderWebsocket({ url: `ws://127.0.0.1:${port}`, WebSocketPolyfill: require('ws'), delay: 50, minDelay: 20, maxDelay: 200 });
    const document = new Y.Doc();
    const provider = new HocuspocusProvider({ websocketProvider, name: `document-${(number += 1)}`, document });
    provider.attach();
    // Resolves when the server has acknowledged all that was written.
    const acknowledged = () =>
      new Promise((resolve) => {
        const look = () => {
          if (!provider.isSynced || provider.hasUnsyncedChanges) return;
          provider.off('synced', look);
          provider.off('unsyncedChanges', look);
          resolve();
        };
        provider.on('synced', look);
        provider.on('unsyncedChanges', look);
        look();
      });
    const ask = async () => {
      const words = document.getMap('words');
      words.set('hello', `you ${words.size}`);
      await acknowledged();
      words.delete('hello');
      await acknowledged();
      return { written: true, left: words.toJSON() };
    };
    const close = () => {
      provider.destroy();
      websocketProvider.destroy();
    };
    return { ask, close };
  },
  says: /written\W+true/,
  hook: /CLEANED/,
};
