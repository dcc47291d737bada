'use strict';

// What the soak's servers find in their environment, read once for all of them.

const fs = require('node:fs');
const { program } = require('./program');

const { HTTPS_PORT, PORT, TLS_CERT_FILE, TLS_KEY_FILE, WEBSOCKET_PORT, WORKERS, GRACE_MS } = process.env;

const host = '127.0.0.1';
const ports = { http: Number(PORT), https: Number(HTTPS_PORT), websockets: Number(WEBSOCKET_PORT) };

/** The program's servers with the certificate that the environment names. */
const servers = () => program({ key: fs.readFileSync(TLS_KEY_FILE), cert: fs.readFileSync(TLS_CERT_FILE) });

/** Resolves when a server listens. */
const listening = (server, port) =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });

module.exports = { graceMs: Number(GRACE_MS), host, listening, ports, servers, workers: Number(WORKERS) };
