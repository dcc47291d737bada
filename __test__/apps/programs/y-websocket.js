'use strict';

let number = 0;

// Its server's own command line. It handles no signal and says nothing at its end: there is no hook.
module.exports = {
  versions: { '@y/websocket-server': '0.1.1', 'y-websocket': '3.1.0', yjs: '13.6.33', 'y-protocols': '1.0.6', ws: '8.23.0' },
  bin: 'y-websocket',
  // The interval of a document never ends: a worker that stops within `lingerTimeout` of its last client waits for it.
  client: ({ require, port }) => {
    const { WebsocketProvider } = require('y-websocket');
    const Y = require('yjs');
    const syncProtocol = require('y-protocols/sync');
    const encoding = require('lib0/encoding');
    const document = new Y.Doc();
    const provider = new WebsocketProvider(`ws://127.0.0.1:${port}`, `room-${(number += 1)}`, document, { WebSocketPolyfill: require('ws'), disableBc: true, maxBackoffTime: 200 });
    const synced = () =>
      new Promise((resolve) => {
        const look = (isSynced) => {
          if (!isSynced) return;
          provider.off('sync', look);
          resolve();
        };
        provider.on('sync', look);
        look(provider.synced);
      });
    const ask = async () => {
      await synced();
      document.getMap('words').set('hello', 'you');
      // Asks for what the server has beyond this: what was sent before has been read when the answer comes.
      provider.synced = false;
      const encoder = encoding.createEncoder();
      encoding.writeVarUint(encoder, 0);
      syncProtocol.writeSyncStep1(encoder, document);
      if (provider.wsconnected) provider.ws.send(encoding.toUint8Array(encoder));
      await synced();
      return document.getMap('words').toJSON();
    };
    const close = () => {
      provider.destroy();
      document.destroy();
    };
    return { ask, close };
  },
  says: /hello\W+you/,
};
