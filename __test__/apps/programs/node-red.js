'use strict';

module.exports = {
  versions: { 'node-red': '5.0.7' },
  node: 22,
  bin: 'node-red',
  files: {
    'settings.js': `
      module.exports = {
        flowFile: 'flows.json',
        uiHost: process.env.HOST,
        uiPort: Number(process.env.PORT),
        logging: { console: { level: 'info' } },
        // The cluster is told when the flows run: Node-RED listens before that.
        functionGlobalContext: { ready: () => process.send?.('ready') },
        telemetry: { enabled: false, updateNotification: false },
      };`,
    'flows.json': JSON.stringify([
      { id: 'f1', type: 'tab', label: 'hello' },
      { id: 'n1', z: 'f1', type: 'http in', url: '/hello', method: 'get', wires: [['n2']] },
      { id: 'n2', z: 'f1', type: 'function', func: "msg.payload = { hello: msg.payload.name };\nreturn msg;", outputs: 1, wires: [['n3']] },
      { id: 'n3', z: 'f1', type: 'http response', wires: [] },
      { id: 'n4', z: 'f1', type: 'inject', once: true, onceDelay: 0.1, props: [], wires: [['n5']] },
      { id: 'n5', z: 'f1', type: 'function', func: "global.get('ready')();", outputs: 0, wires: [] },
    ]),
  },
  args: ({ folder }) => ['--userDir', folder, '--settings', `${folder}/settings.js`],
  config: { processManagement: { ready: 'message' } },
  ask: async ({ get }) => [await get('/hello?name=you'), (await get('/')).status],
  says: /hello.*you.*200/,
  hook: /Stopped flows/,
};
