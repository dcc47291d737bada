'use strict';

module.exports = {
  versions: { 'smtp-server': '3.21.6', nodemailer: '10.6.1' },
  files: {
    'server.js': `
      const { SMTPServer } = require('smtp-server');
      const server = new SMTPServer({
        authOptional: true,
        disabledCommands: ['STARTTLS'],
        onData(stream, session, callback) {
          let size = 0;
          stream.on('data', (piece) => (size += piece.length));
          stream.on('end', () => callback(null, 'took it for ' + session.envelope.rcptTo[0].address));
        },
      });
      server.listen(Number(process.env.PORT), process.env.HOST);
      process.on('SIGTERM', () => server.close(() => console.log('CLEANED')));`,
  },
  client: ({ require, port }) => {
    const mail = require('nodemailer').createTransport({ host: '127.0.0.1', port, ignoreTLS: true });
    const ask = async () => {
      const { accepted, response } = await mail.sendMail({ from: 'a@example.com', to: 'b@example.com', subject: 'hello', text: 'you' });
      return { accepted, response };
    };
    return { ask, close: () => mail.close() };
  },
  // Every mail server tries again then.
  away: /421 Server shutting down/,
  says: /250.*took it for b@example.com/,
  hook: /CLEANED/,
};
