// The configurations of the cluster service's guide, and the interfaces it documents.

import { ClusterManager, createServer } from 'drover';
import type {
  AutoScalingConfig,
  ClusterConfig,
  ClusterMetrics,
  HealthCheckConfig,
  HealthStatus,
  MonitoringConfig,
  ProcessManagementConfig,
  ResourceConfig,
  SecurityConfig,
  WorkerInfo,
} from 'drover';

const app = createServer({
  cluster: {
    enabled: true,
    config: {
      workers: 'auto',
      resources: {
        maxMemoryPerWorker: '256MB',
        maxCpuPerWorker: 50,
      },
    },
  },
});

const clusterConfig = {
  enabled: true,
  workers: 4,

  resources: {
    maxMemoryPerWorker: '512MB',
    maxCpuPerWorker: 75,
    memoryManagement: {
      enabled: true,
      memoryWarningThreshold: 80,
      memoryCriticalThreshold: 95,
      memoryLeakDetection: true,
      garbageCollectionHint: true,
    },
  },

  processManagement: {
    respawn: true,
    maxRestarts: 3,
    restartDelay: 2000,
    gracefulShutdownTimeout: 30000,
    zombieDetection: true,
  },

  healthCheck: {
    enabled: true,
    interval: 30000,
    timeout: 10000,
    maxFailures: 3,
    endpoint: '/health',
  },

  autoScaling: {
    enabled: true,
    minWorkers: 2,
    maxWorkers: 8,
    scaleUpThreshold: {
      cpu: 75,
      memory: 80,
      responseTime: 1500,
    },
  },
};

createServer({ cluster: clusterConfig });
createServer({ cluster: { enabled: true, config: clusterConfig } });

declare const newConfiguration: object;
declare const taskData: object;

await app.broadcastToWorkers({
  type: 'config-update',
  data: newConfiguration,
});

await app.sendToRandomWorker({
  type: 'process-task',
  data: taskData,
});

interface DocumentedManager {
  start(): Promise<void>;
  stop(graceful?: boolean): Promise<void>;
  restart(): Promise<void>;
  scale(workerCount: number): Promise<void>;
  getMetrics(): Promise<ClusterMetrics>;
  getWorkers(): WorkerInfo[];
  getHealth(): Promise<HealthStatus>;
}

const manager: DocumentedManager = new ClusterManager(clusterConfig, 3000);

interface DocumentedConfig {
  enabled?: boolean;
  workers?: number | 'auto';
  resources?: ResourceConfig;
  processManagement?: ProcessManagementConfig;
  healthCheck?: HealthCheckConfig;
  autoScaling?: AutoScalingConfig;
  monitoring?: MonitoringConfig;
  security?: SecurityConfig;
}

declare const documented: DocumentedConfig;
const config: ClusterConfig = documented;

console.log(manager, config);
