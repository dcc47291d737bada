'use strict';

// The Grafana dashboard asks for what is there: every metric that it names is served by a cluster's /metrics, with the
// labels that it names.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const dashboard = require('../docs/grafana/drover.json');
const { freePort, request } = require('./helpers/http');
const { monitoringPort } = require('./helpers/monitoring');
const { failureCluster } = require('./helpers/program');

/** [metric, labels] of every selector in a query. */
function selectors(query) {
  const found = query.matchAll(/\b((?:drover|http|process|nodejs)_\w+)(?:\{([^}]*)\})?/g);
  return [...found].map(([, metric, labels = '']) => [metric, [...labels.matchAll(/(\w+)\s*=/g)].map(([, label]) => label)]);
}

/** Labels that Prometheus puts there itself. */
const SCRAPED = ['job', 'instance'];

const queries = [
  ...dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
  ...dashboard.templating.list.flatMap(({ definition }) => definition ?? []),
];

test('every metric and label that the Grafana dashboard asks for is served', async (t) => {
  const port = await freePort();
  const cluster = failureCluster(t, { port, config: { monitoring: { port: 0 } } });
  const api = await monitoringPort(cluster);
  await cluster.until(/the cluster is ready/);
  await request(port);
  let text = '';
  while (!text.includes('process_open_fds{')) text = (await request(api, { path: '/metrics' })).body;
  const samples = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  /** By metric the labels that its samples have. */
  const served = new Map();
  for (const sample of samples) {
    const [, metric, labels = ''] = sample.match(/^(\w+)(?:\{(.*)\})? /);
    served.set(metric, new Set([...(served.get(metric) ?? []), ...[...labels.matchAll(/(\w+)="/g)].map(([, label]) => label)]));
  }
  const asked = queries.flatMap(selectors);
  assert.ok(asked.length >= 20, `only ${asked.length} selectors were read`);
  for (const [metric, labels] of asked) {
    assert.ok(served.has(metric), `${metric} is not served`);
    for (const label of labels.filter((one) => !SCRAPED.includes(one))) assert.ok(served.get(metric).has(label), `${metric} has no label ${label}`);
  }
});

test('its panels do not overlap', () => {
  const taken = new Map();
  for (const { title, gridPos: { x, y, w, h } } of dashboard.panels) {
    assert.ok(x + w <= 24, title);
    for (let column = x; column < x + w; column += 1)
      for (let row = y; row < y + h; row += 1) {
        const cell = `${column},${row}`;
        assert.equal(taken.get(cell), undefined, `${title} lies on ${taken.get(cell)}`);
        taken.set(cell, title);
      }
  }
});
