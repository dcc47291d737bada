'use strict';

module.exports = {
  versions: { '@grpc/grpc-js': '1.14.7' },
  files: {
    'service.js': `
      const serialize = (value) => Buffer.from(JSON.stringify(value));
      const deserialize = (bytes) => JSON.parse(bytes);
      const method = (name, requestStream, responseStream) => ({
        path: '/Greeter/' + name,
        requestStream,
        responseStream,
        requestSerialize: serialize,
        requestDeserialize: deserialize,
        responseSerialize: serialize,
        responseDeserialize: deserialize,
      });
      module.exports = { hello: method('Hello', false, false), count: method('Count', false, true), sum: method('Sum', true, true) };`,
    'server.js': `
      const grpc = require('@grpc/grpc-js');
      const server = new grpc.Server();
      server.addService(require('./service'), {
        hello: (call, answer) => answer(null, { hello: call.request.name }),
        count: (call) => {
          for (let count = 1; count <= call.request.to; count += 1) call.write({ count });
          call.end();
        },
        sum: (call) => {
          let sum = 0;
          call.on('data', ({ number }) => call.write({ sum: (sum += number) }));
          call.on('end', () => call.end());
        },
      });
      server.bindAsync(process.env.HOST + ':' + process.env.PORT, grpc.ServerCredentials.createInsecure(), (error) => {
        if (error) throw error;
      });
      process.on('SIGTERM', () => server.tryShutdown(() => console.log('CLEANED')));`,
  },
  client: ({ require, port }) => {
    const grpc = require('@grpc/grpc-js');
    const Client = grpc.makeGenericClientConstructor(require('./service'), 'Greeter');
    const client = new Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
    const all = async (stream) => {
      const answers = [];
      for await (const answer of stream) answers.push(answer);
      return answers;
    };
    const ask = async () => {
      const hello = await new Promise((resolve, reject) => {
        client.hello({ name: 'you' }, (error, answer) => (error ? reject(error) : resolve(answer)));
      });
      const counts = await all(client.count({ to: 3 }));
      // Each number waits for the sum before it: the stream lives while a roll happens.
      const call = client.sum();
      const sums = [];
      call.write({ number: 1 });
      for await (const { sum } of call) {
        sums.push(sum);
        if (sums.length === 4) call.end();
        else call.write({ number: sums.length });
      }
      return { hello, counts, sums };
    };
    return { ask, close: () => client.close() };
  },
  says: /hello.*count\W+3.*7/,
  hook: /CLEANED/,
};
