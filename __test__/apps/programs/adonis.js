'use strict';

// What `node ace build` leaves: JavaScript that node runs.
module.exports = {
  versions: { '@adonisjs/core': '7.5.2', '@vinejs/vine': '4.4.0' },
  node: 24,
  main: 'bin/server.js',
  files: {
    'package.json': JSON.stringify({ private: true, type: 'module' }),
    'bin/server.js': `
      import { Ignitor, prettyPrintError } from '@adonisjs/core';
      const root = new URL('../', import.meta.url);
      const importer = (path) => import(path.startsWith('.') ? new URL(path, root).href : path);
      new Ignitor(root, { importer })
        .tap((app) => {
          app.listen('SIGTERM', () => app.terminate());
          app.listenIf(app.managedByPm2, 'SIGINT', () => app.terminate());
          app.terminating(() => console.log('CLEANED'));
        })
        .httpServer()
        .start()
        .catch((error) => {
          process.exitCode = 1;
          prettyPrintError(error);
        });`,
    'adonisrc.js': `
      import { defineConfig } from '@adonisjs/core/app';
      export default defineConfig({
        providers: [() => import('@adonisjs/core/providers/app_provider'), () => import('@adonisjs/core/providers/hash_provider')],
        preloads: [() => import('./start/routes.js'), () => import('./start/kernel.js')],
      });`,
    'config/app.js': `
      import { defineConfig } from '@adonisjs/core/http';
      export const appKey = 'a key of thirty-two letters, here';
      export const http = defineConfig({ generateRequestId: false });`,
    'config/encryption.js': `
      import { defineConfig, drivers } from '@adonisjs/core/encryption';
      export default defineConfig({ default: 'legacy', list: { legacy: drivers.legacy({ keys: ['a key of thirty-two letters, here'] }) } });`,
    'config/logger.js': `
      import { defineConfig, targets } from '@adonisjs/core/logger';
      export default defineConfig({ default: 'app', loggers: { app: { enabled: true, name: 'app', level: 'info' } } });`,
    'config/hash.js': `
      import { defineConfig, drivers } from '@adonisjs/core/hash';
      export default defineConfig({ default: 'scrypt', list: { scrypt: drivers.scrypt() } });`,
    'config/bodyparser.js': `
      import { defineConfig } from '@adonisjs/core/bodyparser';
      export default defineConfig({ allowedMethods: ['POST', 'PUT', 'PATCH', 'DELETE'] });`,
    'start/kernel.js': `
      import router from '@adonisjs/core/services/router';
      router.use([() => import('@adonisjs/core/bodyparser_middleware')]);`,
    'start/routes.js': `
      import router from '@adonisjs/core/services/router';
      router.get('/', ({ request }) => ({ hello: request.input('name') }));
      router.post('/sum', ({ request }) => ({ sum: request.body().reduce((a, b) => a + b, 0) }));`,
  },
  ask: async ({ get, post }) => [await get('/?name=you'), await post('/sum', [1, 2, 3]), (await get('/nowhere')).status],
  says: /hello.*you.*sum.*6.*404/,
  hook: /CLEANED/,
};
