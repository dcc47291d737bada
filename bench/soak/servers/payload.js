'use strict';

// Bodies that tell whose they are: each is made from the request's id, so that an answer which was mixed up,
// cut or doubled is never taken for the right one.

const { createHash } = require('node:crypto');

/** `size` bytes that only the request `id` has. */
const filler = (id, size) => Buffer.alloc(size, `${id}.`);

/** What a server answers to a body that it has read whole. */
const receipt = (id, body) => `${id} ${body.length} ${createHash('sha1').update(body).digest('hex')}`;

module.exports = { filler, receipt };
