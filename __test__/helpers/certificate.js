'use strict';

// Creates a self-signed certificate for localhost in each test run, so that the repository contains no key and no other
// program is needed. The encoding is DER (X.690), the structure that of RFC 5280.

const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const DAY = 24 * 60 * 60 * 1000;

function der(tag, ...contents) {
  const body = Buffer.concat(contents);
  if (body.length < 0x80) return Buffer.concat([Buffer.from([tag, body.length]), body]);
  // In the fewest bytes: BoringSSL accepts nothing else.
  const length = body.length < 0x100 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

const sequence = (...contents) => der(0x30, ...contents);
const oid = (hex) => der(0x06, Buffer.from(hex, 'hex'));
const utcTime = (time) =>
  der(
    0x17,
    Buffer.from(
      `${new Date(time)
        .toISOString()
        .replace(/[-:T]|\.\d+/g, '')
        .slice(2)}`,
    ),
  );

const ecdsaWithSha256 = sequence(oid('2a8648ce3d040302'));
const localhost = sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from('localhost')))));

/** subjectAltName: DNS localhost, IP 127.0.0.1. */
const alternativeNames = sequence(
  oid('551d11'),
  der(0x04, sequence(der(0x82, Buffer.from('localhost')), der(0x87, Buffer.from([127, 0, 0, 1])))),
);

/** Creates a key and its certificate, both PEM. */
function createCertificate() {
  const { privateKey, publicKey } = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const toBeSigned = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.from([1, ...crypto.randomBytes(8)])),
    ecdsaWithSha256,
    localhost,
    sequence(utcTime(Date.now() - DAY), utcTime(Date.now() + DAY)),
    localhost,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(alternativeNames)),
  );
  const signature = crypto.sign('sha256', toBeSigned, privateKey);
  const certificate = sequence(toBeSigned, ecdsaWithSha256, der(0x03, Buffer.from([0]), signature));
  const base64 = certificate.toString('base64').replace(/.{1,64}/g, '$&\n');
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    cert: `-----BEGIN CERTIFICATE-----\n${base64}-----END CERTIFICATE-----\n`,
  };
}

/** The environment variables with the paths of key and certificate for the TLS fixtures; the files are removed after test `t`. */
function tlsEnvironment(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drover-tls-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const { key, cert } = createCertificate();
  const environment = { TLS_KEY_FILE: path.join(folder, 'key.pem'), TLS_CERT_FILE: path.join(folder, 'cert.pem') };
  fs.writeFileSync(environment.TLS_KEY_FILE, key, { mode: 0o600 });
  fs.writeFileSync(environment.TLS_CERT_FILE, cert);
  return environment;
}

module.exports = { createCertificate, tlsEnvironment };
