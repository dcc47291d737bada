// What createServer serves besides its own Express application.

import { serve } from '@hono/node-server';
import { NestFactory } from '@nestjs/core';
import { createServer } from 'drover';
import express from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';
import * as http from 'node:http';
import * as http2 from 'node:http2';
import * as https from 'node:https';
import type { AddressInfo } from 'node:net';
import type { ClusterApp, ClusterExpress } from 'drover';

class AppModule {}

const apps: ClusterApp[] = [
  createServer({ app: (request, response) => response.end(request.url) }),
  createServer({ app: express() }),
  createServer({ app: fastify() }),
  createServer({ app: { callback: () => (request, response) => response.end(request.url) } }),
  createServer({ app: new Hono() }),
  createServer({ app: serve({ fetch: new Hono().fetch }) }),
  createServer({ app: http.createServer() }),
  createServer({ app: https.createServer({}) }),
  createServer({ app: http2.createServer() }),
  createServer({ app: http2.createSecureServer({}) }),
  createServer({ app: { fetch: () => new Response('hello') } }),
  createServer({ app: await NestFactory.create(AppModule) }),
];

const app: ClusterExpress = createServer({
  port: 3000,
  server: { keepAliveTimeout: 5000 },
  cluster: { workers: 'max' },
});
const listener: http.RequestListener = app;
app.use(express.json());

await app.start();
await app.start(3000, '127.0.0.1');
app.listen(3000, () => console.log(app.address()));
app.listen(3000, '127.0.0.1', (error) => error && console.error(error));
const address: AddressInfo | string | null = app.address();
await app.close();

console.log(apps.length, http.createServer(listener), address);
