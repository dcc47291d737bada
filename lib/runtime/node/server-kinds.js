// @ts-check
'use strict';

// What a server speaks.

const http = require('node:http');
const https = require('node:https');
const tls = require('node:tls');

/** @param {any} server */
function isHttp1(server) {
  return server instanceof http.Server || server instanceof https.Server;
}

/** @param {any} server */
function isEncrypted(server) {
  return server instanceof tls.Server;
}

module.exports = { isEncrypted, isHttp1 };
