// Mistakes that the types must catch: each line below an expectation fails to compile.

import { ClusterManager, createServer } from 'drover';
import type { ClusterConfig, ClusterErrorCode } from 'drover';

// @ts-expect-error: there is no such strategy
const strategy: ClusterConfig = { loadBalancing: { strategy: 'roundrobin' } };

// @ts-expect-error: workers are counted, or 'auto' or 'max'
const workers: ClusterConfig = { workers: 'all' };

// @ts-expect-error: an unknown key
const unknownKey: ClusterConfig = { healthCheck: { intervall: 1000 } };

// @ts-expect-error: a priority has a name
const priority: ClusterConfig = { resources: { priorityLevel: 10 } };

// @ts-expect-error: a check answers with its verdict
const check: ClusterConfig = { healthCheck: { customCheck: async () => 'fine' } };

// @ts-expect-error: no such code
const code: ClusterErrorCode = 'CONFIGURATION_WRONG';

// @ts-expect-error: an application is no text
createServer({ app: 'server.js' });

const app = createServer();

// @ts-expect-error: a size is a number
app.scale('4');

// @ts-expect-error: the role is read, not set
app.isPrimary = true;

// @ts-expect-error: no such option of a broadcast
app.broadcastToWorkers({ type: 'hello' }, { itself: true });

// @ts-expect-error: a framework's application brings no routes of Express's
createServer({ app: () => undefined }).get('/', () => undefined);

// @ts-expect-error: an event has its payload's shape
new ClusterManager({}).on('worker:exit', ({ exitStatus }) => exitStatus);

console.log(strategy, workers, unknownKey, priority, check, code);
