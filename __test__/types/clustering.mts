// A clustered server as the clustering guide shows it: every snippet compiles as it stands.

import { createServer } from 'drover';
import type { ServerOptions } from 'drover';

const app = createServer({
  cluster: {
    enabled: true,
  },
});

createServer({
  cluster: {
    enabled: true,
    config: {
      workers: 'auto',
    },
  },
});

createServer({
  cluster: {
    enabled: true,
    config: {
      workers: 4,
    },
  },
});

createServer({
  cluster: {
    enabled: true,
    config: {
      workers: 'auto',
      autoRestart: true,
      maxRestarts: 5,
      restartDelay: 1000,
      gracefulShutdown: true,
      shutdownTimeout: 30000,

      healthCheck: {
        enabled: true,
        interval: 30000,
        timeout: 5000,
        retries: 3,
        endpoint: '/health',
        expectedStatus: 200,
      },

      loadBalancing: {
        strategy: 'round-robin',
        stickySession: false,
        sessionAffinity: 'none',
      },

      limits: {
        memory: 512,
        cpu: 80,
        requests: 1000,
        connections: 100,
      },

      scaling: {
        enabled: true,
        minWorkers: 2,
        maxWorkers: 8,
        scaleUpThreshold: 80,
        scaleDownThreshold: 30,
        scaleUpCooldown: 60000,
        scaleDownCooldown: 300000,
      },
    },
  },
});

const configurations: ServerOptions['cluster'][] = [
  {
    enabled: true,
    config: {
      healthCheck: {
        enabled: true,
        interval: 15000,
        timeout: 3000,
        retries: 2,

        customCheck: async (worker) => {
          const memUsage = process.memoryUsage();
          const cpuUsage = process.cpuUsage();

          return {
            healthy: memUsage.heapUsed < 500 * 1024 * 1024,
            metrics: {
              memory: memUsage,
              cpu: cpuUsage,
              uptime: process.uptime(),
            },
          };
        },
      },
    },
  },
  {
    enabled: true,
    config: {
      ipc: {
        encryption: true,
        key: process.env.IPC_ENCRYPTION_KEY,
        timeout: 5000,
        maxMessageSize: 1024 * 1024,
      },
    },
  },
  { config: { loadBalancing: { strategy: 'round-robin' } } },
  { config: { loadBalancing: { strategy: 'least-connections', connectionTracking: true } } },
  { config: { loadBalancing: { strategy: 'ip-hash', stickySession: true, sessionAffinity: 'ip' } } },
  {
    config: {
      scaling: {
        enabled: true,
        minWorkers: 2,
        maxWorkers: 16,
        scaleUpThreshold: 75,
        scaleDownThreshold: 25,
        scaleUpCooldown: 30000,
        scaleDownCooldown: 180000,
        scaleUpIncrement: 2,
        scaleDownIncrement: 1,
      },
    },
  },
  { config: { scaling: { enabled: true, strategy: 'memory', memoryThreshold: 80, memoryTarget: 60 } } },
  { config: { scaling: { enabled: true, strategy: 'requests', requestsPerWorker: 100, responseTimeThreshold: 500 } } },
  {
    config: {
      monitoring: {
        enabled: true,
        metricsInterval: 30000,
        exportMetrics: true,

        customMetrics: async (workers) => {
          return {
            totalMemory: workers.reduce((sum, w) => sum + w.memoryUsage, 0),
            totalCpu: workers.reduce((sum, w) => sum + w.cpuUsage, 0),
            totalRequests: workers.reduce((sum, w) => sum + w.requestCount, 0),
          };
        },
      },
    },
  },
  {
    config: {
      logging: {
        enabled: true,
        level: 'info',
        includeWorkerLogs: true,
        logRotation: true,
        maxLogSize: '10MB',
        maxLogFiles: 5,
      },
    },
  },
  { config: { limits: { memory: 512, cpu: 80, requests: 1000, connections: 100 } } },
];
configurations.forEach((cluster) => cluster && createServer({ cluster }));

app.get('/health', (req, res) => {
  res.json({
    status: 'healthy',
    timestamp: new Date().toISOString(),
    worker: process.pid,
    uptime: process.uptime(),
    memory: process.memoryUsage(),
    version: process.version,
  });
});

declare const taskData: { id: number };
declare function updateConfiguration(config: unknown): void;
declare function processTask(data: unknown): void;

await app.broadcastToWorkers({
  type: 'cache:invalidate',
  pattern: 'user:*',
});

await app.sendToRandomWorker({
  type: 'task:process',
  data: taskData,
});

process.on('message', (message) => {
  switch (message.type) {
    case 'cache:invalidate':
      app.invalidateCache(message.pattern);
      break;

    case 'config:update':
      updateConfiguration(message.config);
      break;

    case 'task:process':
      processTask(message.data);
      break;
  }
});

await app.scaleUp(2);
await app.scaleDown(1);
await app.autoScale();
const optimal: number = await app.getOptimalWorkerCount();

const workers = app.getAllWorkers();

const metrics = await app.getClusterMetrics();
console.log({
  totalWorkers: metrics.totalWorkers,
  activeWorkers: metrics.activeWorkers,
  totalRequests: metrics.totalRequests,
  averageResponseTime: metrics.averageResponseTime,
  memoryUsage: metrics.memoryUsage,
  cpuUsage: metrics.cpuUsage,
});

const health = await app.getClusterHealth();
console.log({
  healthy: health.healthy,
  unhealthyWorkers: health.unhealthyWorkers,
  lastHealthCheck: health.lastHealthCheck,
});

await app.restartCluster();
await app.stopCluster(true);
await app.stopCluster(false);

process.on('SIGTERM', async () => {
  console.log('Received SIGTERM, shutting down gracefully');
  await app.stopCluster(true);
  process.exit(0);
});

process.on('uncaughtException', (error) => {
  console.error('Uncaught Exception:', error);
  app.stopCluster(true).then(() => process.exit(1));
});

process.on('unhandledRejection', (reason, promise) => {
  console.error('Unhandled Rejection at:', promise, 'reason:', reason);
  app.stopCluster(true).then(() => process.exit(1));
});

console.log(optimal, workers.length, workers[0]?.pid);
