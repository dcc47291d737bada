'use strict';

module.exports = {
  versions: {
    '@nestjs/common': '12.5.1',
    '@nestjs/core': '12.5.1',
    '@nestjs/platform-fastify': '12.5.0',
    'reflect-metadata': '0.2.2',
    rxjs: '7.8.2',
  },
  files: {
    'server.js': `
      require('reflect-metadata');
      const { Controller, Get, Module, Post, Body, Query } = require('@nestjs/common');
      const { NestFactory } = require('@nestjs/core');
      const { FastifyAdapter } = require('@nestjs/platform-fastify');
      const param = (decorator, target, name, index) => decorator(target, name, index);
      class Greetings {
        greet(name) {
          return { hello: name };
        }
        echo(body) {
          return body;
        }
        onApplicationShutdown(signal) {
          console.log('CLEANED', signal);
        }
      }
      const method = (name, route, argument) => {
        route(Greetings.prototype, name, Object.getOwnPropertyDescriptor(Greetings.prototype, name));
        param(argument, Greetings.prototype, name, 0);
      };
      method('greet', Get(), Query('name'));
      method('echo', Post(), Body());
      Controller()(Greetings);
      class App {}
      Module({ controllers: [Greetings] })(App);
      NestFactory.create(App, new FastifyAdapter(), { logger: ['warn', 'error', 'fatal'] }).then((app) => {
        app.enableShutdownHooks();
        return app.listen(Number(process.env.PORT), process.env.HOST);
      });`,
  },
  ask: async ({ get, post }) => [await get('/?name=you'), await post('/', { a: 1 }), await get('/nowhere')],
  says: /hello.*you.*201.*404/,
  hook: /CLEANED SIGTERM/,
};
