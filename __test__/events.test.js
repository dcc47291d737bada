'use strict';

// The events stand in one place, src/event.rs; the types repeat their payloads for TypeScript, docs/logging.md the members
// of their lines in the log.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { program } = require('./helpers/program');

const read = (...parts) => fs.readFileSync(path.join(__dirname, '..', ...parts), 'utf8');

/** Lines of the log that are no events of the API. */
const NOT_TOLD = ['notice'];

/** Members that a flattened field brings. */
const FLATTENED = { exit: ['exitCode', 'signal'] };

const camel = (name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());

/** The members of each variant of an enum, by the variant's name, as the core serialises it. */
function variantsOf(kind) {
  const [, list] = read('src', 'event.rs').match(new RegExp(`pub enum ${kind} \\{(.*?)\\n\\}`, 's'));
  const events = {};
  // What is skipped reaches nobody.
  const told = list.replace(/#\[serde\(skip\)\]\s*\w+: [^\n]*\n/g, '').replace(/\/\/\/[^\n]*/g, '');
  for (const [, name, fields = ''] of told.matchAll(/rename = "([\w:-]+)"\)\]\s+\w+(?: \{(.*?)\})?,/gs)) {
    const members = [...fields.matchAll(/(\w+): [&'\w<>]+/g)].map(([, field]) => field);
    events[name] = members.flatMap((field) => FLATTENED[field] ?? camel(field)).sort();
  }
  return events;
}

const eventsOfTheCore = () => variantsOf('Event');

/** Each name that a line of the log may have, with the members of the line. */
function eventsOfTheLog() {
  const renamed = { workerId: 'worker', pid: 'workerPid' };
  const leftOut = JSON.parse(read('src', 'event.rs').match(/const LEFT_OUT: \[&str; \d+\] = (\[.*?\]);/)[1]);
  const causes = variantsOf('AlertCause');
  const added = { 'worker:error': ['errorName', 'errorCode'], alert: ['cause', ...new Set(Object.values(causes).flat())] };
  const members = ([name, all]) => {
    const short = all.filter((member) => !leftOut.includes(member)).map((member) => renamed[member] ?? member);
    return [name, [...short, ...(added[name] ?? [])].sort()];
  };
  const events = Object.entries(eventsOfTheCore()).filter(([name]) => !NOT_TOLD.includes(name));
  return Object.fromEntries([...events.map(members), ...Object.entries(variantsOf('Subject'))]);
}

/** The same as the tables of docs/logging.md say. */
function eventsOfTheDocument() {
  const [, section] = read('docs', 'logging.md').match(/\n## Events\n(.*?)\n## /s);
  const rows = [...section.matchAll(/^\| `([\w:-]+)` \| ([^|]*)\|/gm)];
  return Object.fromEntries(rows.map(([, name, text]) => [name, [...text.matchAll(/`(\w+)`/g)].map(([, member]) => member).sort()]));
}

/** Each event's name with the members of its listener's argument, but for the timestamp that all have. */
function eventsOfTheTypes() {
  const [, list] = read('types', 'events.d.ts').match(/interface ClusterEvents \{(.*?)\n\}/s);
  const events = {};
  for (const [, name, payload] of list.replace(/\/\*\*.*?\*\//gs, '').matchAll(/'?([\w:]+)'?: \(data: \{(.*?)\}\) => void;/gs)) {
    const members = [...payload.matchAll(/(\w+): /g)].map(([, member]) => member);
    assert.ok(members.includes('timestamp'), `${name} has no timestamp`);
    events[name] = members.filter((member) => member !== 'timestamp').sort();
  }
  return events;
}

test('every event of the core has its payload in the types', () => {
  const events = eventsOfTheCore();
  assert.deepEqual(events['worker:exit'], ['exitCode', 'pid', 'reason', 'signal', 'workerId']);
  const declared = eventsOfTheTypes();
  for (const [name, members] of Object.entries(events)) {
    if (!NOT_TOLD.includes(name)) assert.deepEqual(declared[name], members, name);
  }
  assert.ok(Object.keys(events).length >= 12, Object.keys(events).join(' '));
});

test('docs/logging.md has every name that a line of the log may have, and its members', () => {
  const events = eventsOfTheLog();
  assert.deepEqual(events['worker:exit'], ['exitCode', 'reason', 'signal', 'worker', 'workerPid']);
  assert.deepEqual(events['request:slow'], ['method', 'path', 'requestId', 'responseTime', 'statusCode', 'worker']);
  assert.deepEqual(eventsOfTheDocument(), events);
});

test('the log line of an event has the event’s name, members and message', async (t) => {
  const launcher = () => {
    if (process.env.CLUSTER_WORKER) return void setInterval(() => {}, 1000);
    const { ClusterManager } = require('drover');
    const manager = new ClusterManager({ workers: 1, monitoring: { port: false }, processManagement: { ready: 'boot' } });
    manager.on('worker:exit', (event) => console.log(`HEARD ${JSON.stringify(event)}`));
    manager.start();
  };
  const cluster = program(t, launcher);
  const ready = await cluster.event('worker:ready', { worker: '0' });
  assert.deepEqual([ready.workerPid, ready.generation, ready.pid], [cluster.workers()[0], 1, cluster.pid]);
  process.kill(ready.workerPid, 'SIGKILL');
  const { level, time, msg, event, worker, workerPid, exitCode, signal, reason } = await cluster.event('worker:exit');
  const [, heard] = await cluster.until(/HEARD (.*)/);
  const expected = { workerId: worker, pid: workerPid, exitCode, signal, reason, timestamp: time };
  assert.deepEqual(JSON.parse(heard), expected);
  assert.deepEqual([level, event, workerPid, signal], [40, 'worker:exit', ready.workerPid, 'SIGKILL']);
  assert.match(msg, /^Worker 0 died/);
  const since = cluster.mark;
  await cluster.event('worker:restart', { worker: '0', reason: 'killed', restarts: 1 });
  await cluster.eventMany(2, 'worker:ready');
  cluster.signal('SIGTERM');
  await cluster.event('cluster:stopped', {}, { since });
  assert.equal(cluster.events('worker:exit').length, 2);
});
