'use strict';

// What the main example says: on the terminal when it serves, and on its index page.

function welcome(app) {
  const { port } = app.address();
  const url = `http://localhost:${port}`;
  const workers = app.getAllWorkers();
  const victim = workers[0]?.pid ?? '<pid of a worker>';
  return `
drover serves on ${url}

  primary   pid ${process.pid}
${workers.map(({ id, pid }) => `  worker ${id}  pid ${pid}`).join('\n')}

Try in another terminal:

  curl ${url}/             which worker answers; again, and it is another
  curl ${url}/api/status   the same as JSON
  kill -9 ${victim}                        a worker dies: the port stays open and a new one takes its place
  curl ${url}/busy &       a worker blocks for a second, the others go on answering
  curl ${url}/slow &       a request of two seconds; Ctrl-C here lets it finish

Ctrl-C stops the cluster in order; a second one at once.
`;
}

function page(workerId) {
  return `
   drover

   This page comes from worker ${workerId ?? '(no cluster)'}, process ${process.pid}.
   Load it again: a browser keeps its connection and so its worker, curl gets another one each time.

   /api/status   the same as JSON
   /slow         takes two seconds
   /busy         blocks one worker for a second
`;
}

module.exports = { page, welcome };
