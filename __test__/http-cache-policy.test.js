'use strict';

// What drover/http-cache decides, as tables: header fields and times in, decisions out (RFC 9110, 9111, 5861).

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { cacheControl, dateOf, tags } = require('../lib/adapters/http-cache/fields');
const policy = require('../lib/adapters/http-cache/policy');

const NOW = Date.UTC(2026, 0, 1);
const date = (offset) => new Date(NOW + offset * 1000).toUTCString();
const request = (headers = {}, method = 'GET') => ({ method, headers });
/** A response as it is stored, received `ago` seconds before NOW. */
const stored = (headers, { ago = 0, status = 200, heuristic = 0 } = {}) =>
  policy.storedOf(status, headers, { asked: NOW - ago * 1000, received: NOW - ago * 1000 }, heuristic);

test('Cache-Control is read in all its forms', () => {
  const table = {
    'max-age=1': { 'max-age': '1' },
    'MAX-AGE=1, Public': { 'max-age': '1', public: true },
    'max-age="1"': { 'max-age': '1' },
    'a="b, no-store", max-age=2': { a: 'b, no-store', 'max-age': '2' },
    'max-age=5, max-age=3': { 'max-age': '3' },
    'private="a", private': { private: true },
    ', ,no-store,': { 'no-store': true },
    '': {},
  };
  for (const [text, directives] of Object.entries(table)) assert.deepEqual(Object.fromEntries(cacheControl(text)), directives, text);
});

test('dates have three forms, and nothing else is one', () => {
  const sixth = Date.UTC(1994, 10, 6, 8, 49, 37);
  const table = {
    'Sun, 06 Nov 1994 08:49:37 GMT': sixth,
    'Sunday, 06-Nov-94 08:49:37 GMT': sixth,
    'Sun Nov  6 08:49:37 1994': sixth,
    'sun, 06 nov 1994 08:49:37 gmt': sixth,
    'Sun, 06 Nov 1994 08:49:37 UTC': undefined,
    'Sun, 6 Nov 1994 08:49:37 GMT': undefined,
    0: undefined,
  };
  for (const [text, time] of Object.entries(table)) assert.equal(dateOf(text), time, text);
  assert.deepEqual(tags('W/"a", "b,c" , *'), ['W/"a"', '"b,c"', '*']);
});

test('what may be stored', () => {
  const fresh = { 'cache-control': 'max-age=60' };
  const yes = [
    [request(), 200, fresh],
    [request({}, 'HEAD'), 200, fresh],
    [request(), 404, fresh],
    [request(), 500, fresh, 'said to be fresh'],
    [request(), 200, { 'cache-control': 's-maxage=60' }],
    [request(), 200, { expires: date(60) }],
    [request(), 200, { 'cache-control': 'no-cache', etag: '"a"' }, 'to be validated'],
    [request(), 200, { 'cache-control': 'max-age=0', 'last-modified': date(-60) }],
    [request(), 200, { 'cache-control': 'max-age=0, stale-while-revalidate=60' }],
    [request(), 200, { 'cache-control': 'no-store, must-understand, max-age=60' }],
    [request({ authorization: 'a' }), 200, { 'cache-control': 'public, max-age=60' }],
    [request({ authorization: 'a' }), 200, { 'cache-control': 's-maxage=60' }],
    [request({ authorization: 'a' }), 200, { 'cache-control': 'max-age=60, must-revalidate' }],
    [request(), 200, { 'cache-control': 'public, max-age=60', 'set-cookie': ['a=b'] }],
    [request({ cookie: 'a=b' }), 200, fresh],
    [request(), 200, { ...fresh, vary: 'accept, cookie' }],
  ];
  const no = [
    [request({}, 'POST'), 200, fresh],
    [request(), 206, fresh],
    [request(), 304, fresh],
    [request(), 200, {}, 'nothing says how long'],
    [request(), 200, { etag: '"a"' }, 'nothing says that it may be'],
    [request(), 200, { 'cache-control': 'max-age=0' }, 'of no use'],
    [request(), 200, { 'cache-control': 'no-cache' }],
    [request(), 200, { 'cache-control': 'no-store, max-age=60' }],
    [request(), 200, { 'cache-control': 'private, max-age=60' }],
    [request(), 599, { 'cache-control': 'must-understand, max-age=60' }],
    [request(), 200, { expires: '0' }],
    [request(), 200, { ...fresh, vary: 'accept, *' }],
    [request(), 200, { ...fresh, 'set-cookie': 'a=b' }],
    [request({ authorization: 'a' }), 200, fresh],
    [request({ 'cache-control': 'no-store' }), 200, fresh],
  ];
  for (const [asked, status, headers, why] of yes) assert.equal(policy.mayStore(asked, status, headers, NOW, 0), true, `${why ?? JSON.stringify([asked, headers])}`);
  for (const [asked, status, headers, why] of no) assert.equal(policy.mayStore(asked, status, headers, NOW, 0), false, `${why ?? JSON.stringify([asked, headers])}`);
});

test('how long a response is fresh, and how old it is', () => {
  const lifetimes = [
    [{ 'cache-control': 'max-age=60', expires: date(5) }, 60],
    [{ 'cache-control': 'max-age=60, s-maxage=10' }, 10],
    [{ 'cache-control': 'max-age=soon', expires: date(5) }, 0],
    [{ 'cache-control': 'max-age=99999999999' }, 2 ** 31],
    [{ expires: date(5), date: date(-5) }, 10],
    [{ expires: 'soon' }, 0],
    [{ 'last-modified': date(-1000) }, 100],
    [{ 'last-modified': date(-1e8) }, 86_400],
    [{ etag: '"a"' }, 0],
  ];
  for (const [headers, lifetime] of lifetimes) assert.equal(stored(headers, { heuristic: 0.1 }).lifetime, lifetime * 1000, JSON.stringify(headers));
  const ages = [
    [{}, 5, 5],
    [{ age: '10' }, 5, 15],
    [{ age: '10', date: date(-100) }, 5, 100],
    [{ age: 'old' }, 5, 5],
    [{ date: date(100) }, 5, 5],
  ];
  for (const [headers, ago, age] of ages) assert.equal(policy.ageOf(stored(headers, { ago }), NOW), age * 1000, JSON.stringify(headers));
  const slow = policy.storedOf(200, { age: '1' }, { asked: NOW - 9000, received: NOW }, 0);
  assert.equal(policy.ageOf(slow, NOW), 10_000, 'the response may have aged on its way');
});

test('what answers a request', () => {
  const table = [
    ['max-age=60', 59, {}, 'use'],
    ['max-age=60', 60, {}, 'validate'],
    ['max-age=60, no-cache', 0, {}, 'validate'],
    ['max-age=60, stale-while-revalidate=10', 69, {}, 'renew'],
    ['max-age=60, stale-while-revalidate=10', 70, {}, 'validate'],
    ['max-age=60, stale-while-revalidate=10, must-revalidate', 65, {}, 'validate'],
    ['s-maxage=60, stale-while-revalidate=10', 65, {}, 'validate'],
    ['max-age=60', 30, { 'cache-control': 'no-cache' }, 'validate'],
    ['max-age=60', 30, { pragma: 'no-cache' }, 'validate'],
    ['max-age=60', 30, { pragma: 'no-cache', 'cache-control': 'x' }, 'use'],
    ['max-age=60', 30, { 'cache-control': 'max-age=30' }, 'validate'],
    ['max-age=60', 30, { 'cache-control': 'max-age=31' }, 'use'],
    ['max-age=60', 30, { 'cache-control': 'min-fresh=31' }, 'validate'],
    ['max-age=60', 30, { 'cache-control': 'min-fresh=30' }, 'use'],
    ['max-age=60', 65, { 'cache-control': 'max-stale' }, 'use'],
    ['max-age=60', 65, { 'cache-control': 'max-stale=5' }, 'use'],
    ['max-age=60', 65, { 'cache-control': 'max-stale=4' }, 'validate'],
    ['max-age=60, proxy-revalidate', 65, { 'cache-control': 'max-stale' }, 'validate'],
  ];
  for (const [control, ago, headers, answer] of table) {
    assert.equal(policy.answerOf(request(headers), stored({ 'cache-control': control }, { ago }), NOW), answer, JSON.stringify([control, ago, headers]));
  }
});

test('which failures a stale response hides', () => {
  const table = [
    ['max-age=60, stale-if-error=10', 65, 503, {}, true],
    ['max-age=60, stale-if-error=10', 71, 503, {}, false],
    ['max-age=60, stale-if-error=10', 65, 404, {}, false],
    ['max-age=60', 65, 500, {}, false],
    ['max-age=60', 65, 500, { 'cache-control': 'stale-if-error=10' }, true],
    ['max-age=60, must-revalidate, stale-if-error=10', 65, 500, {}, false],
  ];
  for (const [control, ago, status, headers, hides] of table) {
    assert.equal(policy.hidesFailure(request(headers), stored({ 'cache-control': control }, { ago }), status, NOW), hides, JSON.stringify([control, ago, status]));
  }
});

test('a client that has the response gets 304', () => {
  const kept = stored({ etag: 'W/"a"', 'last-modified': date(-60), 'x-a': '1', 'cache-control': 'max-age=60' });
  const table = [
    [{}, 200],
    [{ 'if-none-match': '"a"' }, 304],
    [{ 'if-none-match': '"b", W/"a"' }, 304],
    [{ 'if-none-match': '*' }, 304],
    [{ 'if-none-match': '"b"', 'if-modified-since': date(0) }, 200],
    [{ 'if-modified-since': date(-60) }, 304],
    [{ 'if-modified-since': date(-61) }, 200],
    [{ 'if-modified-since': 'yesterday' }, 200],
  ];
  for (const [headers, status] of table) assert.equal(policy.replayOf(request(headers), kept, NOW, 5).status, status, JSON.stringify(headers));
  const { headers, hasBody } = policy.replayOf(request({ 'if-none-match': '*' }), kept, NOW, 5);
  assert.deepEqual([headers['x-a'], headers.etag, headers.age, headers['content-length'], hasBody], [undefined, 'W/"a"', '0', undefined, false]);
  assert.equal(policy.replayOf(request({ 'if-none-match': '*' }), stored({}, { status: 404 }), NOW, 5).status, 404);
  assert.equal(policy.replayOf(request({}, 'HEAD'), kept, NOW, 5).headers['content-length'], '5');
});

test('fields of one connection are not stored, and a 304 changes what it says', () => {
  const { headers } = stored({ connection: 'x-hop, close', 'x-hop': '1', 'keep-alive': '1', te: 'x', age: '5', 'content-length': '3', 'x-own': '1', date: date(0) });
  assert.deepEqual(Object.fromEntries(headers), { 'x-own': '1', date: date(0) });
  const before = stored({ etag: '"a"', 'content-type': 'text/plain', 'x-a': '1', 'x-b': '1', 'cache-control': 'max-age=1', date: date(-10) }, { ago: 10 });
  const after = policy.freshened(before, { etag: '"a"', 'content-type': 'text/html', 'x-a': '2', 'cache-control': 'max-age=60' }, { asked: NOW, received: NOW }, 0);
  assert.deepEqual(Object.fromEntries(after.headers), { etag: '"a"', 'content-type': 'text/plain', 'x-a': '2', 'x-b': '1', 'cache-control': 'max-age=60', date: date(0) });
  assert.deepEqual([policy.ageOf(after, NOW), after.lifetime], [0, 60_000]);
  assert.equal(policy.isValidated(before, { etag: 'W/"a"' }), true);
  assert.equal(policy.isValidated(before, { etag: '"b"' }), false);
});

test('what a change makes wrong', () => {
  const target = 'http://a.example/items/1?x=1';
  const table = [
    ['POST', 200, {}, [target]],
    ['DELETE', 302, { location: '/items' }, [target, 'http://a.example/items']],
    ['PATCH', 204, { 'content-location': '../other#part' }, [target, 'http://a.example/other']],
    ['PUT', 201, { location: 'http://b.example/items' }, [target]],
    ['PUT', 400, {}, []],
    ['GET', 200, {}, []],
    ['OPTIONS', 200, {}, []],
  ];
  for (const [method, status, headers, uris] of table) assert.deepEqual(policy.invalidated(method, status, headers, target), uris, `${method} ${status}`);
});
