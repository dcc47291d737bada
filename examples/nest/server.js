'use strict';

// A Nest application, without a compiler: the decorators are applied by hand. PORT sets the port (3000).

require('reflect-metadata');
const { Controller, Get, Module } = require('@nestjs/common');
const { NestFactory } = require('@nestjs/core');
const { createServer } = require('drover');

class HelloController {
  hello() {
    return { hello: 'from Nest', worker: process.env.WORKER_ID, pid: process.pid };
  }
}
Controller()(HelloController);
Get()(HelloController.prototype, 'hello', Object.getOwnPropertyDescriptor(HelloController.prototype, 'hello'));

class AppModule {}
Module({ controllers: [HelloController] })(AppModule);

async function main() {
  const nest = await NestFactory.create(AppModule, { logger: ['error', 'warn'] });
  const app = createServer({ app: nest, cluster: { enabled: true } });
  await app.start(process.env.PORT ?? 3000);
  if (app.isPrimary) console.log(`Nest serves on http://localhost:${app.address().port}`);
}

main();
