'use strict';

// Buffers wherever in a message JSON.stringify meets them.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { decode, encode } = require('../lib/messages/body');
const { JSON_AND_BUFFERS, JSON_TEXT } = require('../lib/messages/numbers');

const bytes = Buffer.from('bytes');

class Named {
  constructor() {
    this.bytes = bytes;
  }
}

/** Its `toJSON` cannot be enumerated. */
class Written {
  toJSON() {
    return { bytes };
  }
}

const written = Object.assign(() => {}, { toJSON: () => ({ bytes }) });

test('a Buffer arrives as one wherever it stands', () => {
  const places = {
    'the message': [bytes, (back) => back],
    'a member': [{ bytes }, (back) => back.bytes],
    'of its data': [{ type: 'm', data: { bytes } }, (back) => back.data.bytes],
    'an item': [[1, bytes], (back) => back[1]],
    'an item of its data': [{ data: [{ n: 1 }, bytes] }, (back) => back.data[1]],
    'an item’s member': [{ data: [{ bytes }] }, (back) => back.data[0].bytes],
    'deep inside': [{ a: { b: { c: [{ bytes }] } } }, (back) => back.a.b.c[0].bytes],
    'an instance’s member': [{ data: new Named() }, (back) => back.data.bytes],
    'what a toJSON gives': [{ data: { toJSON: () => ({ bytes }) } }, (back) => back.data.bytes],
    'what a class’s toJSON gives': [new Written(), (back) => back.bytes],
    'what a member’s class’s toJSON gives': [{ data: { of: new Written() } }, (back) => back.data.of.bytes],
    'what a function’s toJSON gives': [{ data: written }, (back) => back.data.bytes],
    'a member without a prototype': [Object.assign(Object.create(null), { bytes }), (back) => back.bytes],
  };
  for (const [place, [message, at]] of Object.entries(places)) {
    const { format, body } = encode(message, false);
    assert.equal(format, JSON_AND_BUFFERS, place);
    const back = at(decode(format, body));
    assert.ok(Buffer.isBuffer(back) && back.equals(bytes), place);
  }
});

test('a message without a Buffer is the text that JSON.stringify writes', () => {
  const messages = [
    'text',
    7,
    null,
    { type: 'm', data: { text: 'Buffer","data":[', n: 1, yes: true, none: null, not: undefined } },
    { data: [1, 'two', [3]], at: new Date(0), map: new Map([[1, bytes]]), bytes: new Uint8Array(2) },
    { a: { b: { c: { d: { type: 'Buffer', data: [1] } } } } },
    { does() {}, [Symbol('hidden')]: bytes },
  ];
  for (const message of messages) assert.deepEqual(encode(message, false), { format: JSON_TEXT, body: JSON.stringify(message) });
  assert.deepEqual(encode(undefined, false), { format: JSON_TEXT, body: '' });
});
