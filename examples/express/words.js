'use strict';

// The texts of the main example: on the terminal when it serves, and on its index page.

const colour = process.stdout.isTTY && !process.env.NO_COLOR;
const bold = (text) => (colour ? `\x1b[1m${text}\x1b[0m` : text);
const dim = (text) => (colour ? `\x1b[2m${text}\x1b[0m` : text);

function welcome(app) {
  const url = `http://localhost:${app.address().port}`;
  const workers = app.getAllWorkers();
  const tries = [
    [`curl ${url}/`, workers.length > 1 ? 'shows which worker responds; repeat it to get another one' : 'shows which worker responds'],
    [`curl ${url}/api/status`, 'the same as JSON'],
    [`curl ${url}/busy &`, 'blocks its worker for a second; the others still respond'],
    [`curl ${url}/slow &`, 'takes two seconds; press Ctrl-C here meanwhile: it still gets its response'],
    [`kill -9 ${workers[0]?.pid}`, 'kills a worker: the port stays open, and a new worker replaces it'],
  ];
  const width = Math.max(...tries.map(([command]) => command.length));
  const processes = [['primary', process.pid], ...workers.map(({ id, pid }) => [`worker ${id}`, pid])];
  return [
    '',
    bold(`drover serves on ${url}`),
    '',
    ...processes.map(([name, pid]) => `  ${name.padEnd(10)} pid ${pid}`),
    '',
    'Try in another terminal:',
    '',
    ...tries.map(([command, what]) => `  ${bold(command.padEnd(width))}   ${dim(what)}`),
    '',
    'Ctrl-C stops the cluster gracefully, a second one immediately. CLUSTER_WORKERS=4 npm start runs four workers.',
    '',
  ].join('\n');
}

function portIsTaken({ port }) {
  return `Port ${port} is taken by another program. Use another one: PORT=${port + 1} npm start`;
}

function page(workerId) {
  return `
   drover

   This page comes from worker ${workerId ?? '(no cluster)'}, process ${process.pid}.
   Load it again: a browser keeps its connection and therefore its worker; curl gets another one each time.

   /api/status   the same as JSON
   /slow         takes two seconds
   /busy         blocks one worker for a second
`;
}

module.exports = { page, portIsTaken, welcome };
