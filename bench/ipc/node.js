'use strict';

// The peer: child_process.fork and process.send, 'json' or 'advanced'. node node.js '{ "serialization", ... }'

const { fork } = require('node:child_process');
const { flood, measure } = require('./work');

if (process.env.IPC_CHILD) {
  process.on('message', ({ type, data, size, count }) => {
    if (type === 'ask') process.send({ type: 'answer', data });
    else flood((message) => process.send(message), size, count);
  });
} else {
  const asked = JSON.parse(process.argv[2]);
  const options = { env: { ...process.env, IPC_CHILD: '1' }, serialization: asked.serialization };
  const children = Array.from({ length: asked.workers }, () => fork(__filename, [], options));
  let heard = () => {};
  for (const child of children) child.on('message', (message) => heard(message));

  const ask = (worker, data) =>
    new Promise((resolve) => {
      heard = resolve;
      children[worker].send({ type: 'ask', data });
    });
  const broadcast = (data) =>
    new Promise((resolve) => {
      let left = children.length;
      heard = () => --left === 0 && resolve();
      for (const child of children) child.send({ type: 'ask', data });
    });
  const receive = (size, count) =>
    new Promise((resolve) => {
      let left = count;
      heard = () => --left === 0 && resolve();
      children[0].send({ type: 'flood', size, count });
    });

  (async () => {
    // Every child has answered once: it runs.
    await broadcast('hello');
    console.log(JSON.stringify(await measure({ ask, broadcast, receive }, asked)));
    for (const child of children) child.kill('SIGKILL');
    process.exit(0);
  })();
}
