'use strict';

// The events stand in one place, src/event.rs; the types repeat their payloads for TypeScript.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const read = (...parts) => fs.readFileSync(path.join(__dirname, '..', ...parts), 'utf8');

/** Lines of the log that are no events of the API. */
const NOT_TOLD = ['notice'];

/** Members that a flattened field brings. */
const FLATTENED = { exit: ['exitCode', 'signal'] };

const camel = (name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());

/** Each event's name with the members of its payload, as the core serialises it. */
function eventsOfTheCore() {
  const [, list] = read('src', 'event.rs').match(/pub enum Event \{(.*?)\n\}/s);
  const events = {};
  // What is skipped reaches nobody.
  const told = list.replace(/(?:\/\/\/[^\n]*\n\s*)*#\[serde\(skip\)\]\s*\w+: [^\n]*\n/g, '');
  for (const [, name, fields = ''] of told.matchAll(/rename = "([\w:]+)"\)\]\s+\w+(?: \{(.*?)\})?,/gs)) {
    const members = [...fields.matchAll(/(\w+): [\w<>]+/g)].map(([, field]) => field);
    events[name] = members.flatMap((field) => FLATTENED[field] ?? camel(field)).sort();
  }
  return events;
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
