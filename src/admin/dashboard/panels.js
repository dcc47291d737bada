// The panels of errors, scaling decisions and events. An empty panel says why it is empty.

import { bars, byId, make, mark, say } from './dom.js';
import { clock, many } from './format.js';

/** The maximum number of events in the page. */
const MAX_EVENTS = 60;
const SEVERITY = { critical: 'bad', fatal: 'bad', high: 'bad', error: 'bad', medium: 'warn', warning: 'warn', warn: 'warn' };

/** Writes into an empty panel why it is empty. */
export function nothing(panel, text) {
  const known = panel.querySelector(':scope > .none-yet');
  if (known) say(known, text);
  else panel.replaceChildren(make('p', { class: 'none-yet' }, text));
}

export const missing = (panel, path) => nothing(panel, `This version of drover does not serve ${path}.`);

/** Replaces the content of a panel only if it has changed; open stack traces stay open. */
function unlessSame(panel, shown, build) {
  const key = JSON.stringify(shown);
  if (panel.shown === key && panel.childElementCount > 0) return;
  panel.shown = key;
  const open = new Set([...panel.querySelectorAll('details[open]')].map(({ dataset }) => dataset.key));
  panel.replaceChildren(...build());
  for (const details of panel.querySelectorAll('details')) details.open = open.has(details.dataset.key);
}

export function showErrors({ errors = [], circuits = [], dropped = 0 }) {
  const panel = byId('errors');
  const count = errors.reduce((sum, error) => sum + (error.count ?? 0), 0);
  say(byId('errors-count'), count > 0 ? `${many(count, 'error')}, ${errors.length} different` : '');
  if (errors.length === 0 && circuits.length === 0) return nothing(panel, 'No errors.');
  unlessSame(panel, [errors, circuits, dropped], () => {
    const lost = dropped > 0 ? [make('li', { class: 'circuit' }, `${many(dropped, 'more error group')} not kept`)] : [];
    return [make('ul', { class: 'list', tabindex: '0', 'aria-labelledby': 'errors-title' }, ...circuits.map(circuit), ...errors.map(error), ...lost)];
  });
}

function circuit({ workerId, kind, state, until }) {
  const what = kind === 'ejection' ? 'gets no new connections' : 'is not restarted';
  const how = state === 'half-open' ? 'is on trial' : `${what}${until ? ` until ${clock(until)}` : ''}`;
  return make('li', { class: 'circuit' }, `Worker ${workerId} ${how} (${kind} circuit ${state})`);
}

function error({ fingerprint, class: name, severity, message, count, first, last, workers = [], stack, trend = [] }) {
  const who = workers.length > 0 ? ` · worker ${workers.join(', ')}` : '';
  const parts = [
    make('span', { class: 'pill', 'data-kind': SEVERITY[severity] ?? 'unknown' }, String(severity)),
    make('span', { class: 'message' }, message),
    make('span', { class: 'times', 'aria-label': `${count} times` }, `${count}×`),
    make('span', { class: 'about' }, `${name} · ${clock(first)} to ${clock(last)}${who}`),
  ];
  if (trend.length > 0) parts.push(bars(trend, `In the last ${many(trend.length, 'minute')}: ${trend.reduce((a, b) => a + b, 0)}`));
  if (stack) {
    const shown = make('pre', { tabindex: '0', 'aria-label': 'Stack' }, stack);
    parts.push(make('details', { 'data-key': String(fingerprint) }, make('summary', {}, 'Stack'), shown));
  }
  return make('li', { class: 'error' }, ...parts);
}

export function showScaling({ workers, target, autoScaling, last, decisions = [] }) {
  const panel = byId('scaling');
  const shown = [workers, target, autoScaling, last, decisions];
  unlessSame(panel, shown, () => {
    const on = autoScaling ? `auto-scaling from ${autoScaling.minWorkers ?? '?'} to ${autoScaling.maxWorkers ?? '?'}` : 'auto-scaling is off';
    const size = make('p', { class: 'size' }, make('b', {}, many(workers, 'worker')), `, target ${target}; ${on}`);
    const list = decisions.length > 0 ? decisions : last ? [last] : [];
    if (list.length === 0) return [size, make('p', { class: 'none-yet' }, 'No decisions yet.')];
    return [size, make('ul', { class: 'list', tabindex: '0', 'aria-labelledby': 'scaling-title' }, ...newestFirst(list).map(decision))];
  });
}

const newestFirst = (list) => [...list].sort((a, b) => b.timestamp - a.timestamp);

function decision({ timestamp, from, to, reason }) {
  return row(timestamp, from === to ? `stays at ${to}` : `${from} → ${to}`, reason ?? '');
}

function row(at, what, text) {
  return make(
    'li',
    { class: 'event' },
    make('time', { datetime: new Date(at ?? 0).toISOString() }, clock(at)),
    make('span', { class: 'what' }, what),
    make('span', { class: 'text' }, text),
  );
}

/** Adds an event at the top of the list. */
export function showEvent(event) {
  // The poll shows these values.
  if (event.type === 'metrics:updated') return;
  const panel = byId('events');
  let list = panel.querySelector('ul');
  if (list === null) {
    list = make('ul', { class: 'list', tabindex: '0', 'aria-labelledby': 'events-title' });
    panel.replaceChildren(list);
  }
  // The `gap` entry, for missing events, has no timestamp.
  list.prepend(row(event.timestamp ?? Date.now(), event.type, words(event)));
  while (list.childElementCount > MAX_EVENTS) list.lastElementChild.remove();
}

/** The fields of an event, except type and timestamp, as text. */
function words({ type, timestamp: _, ...rest }) {
  if (type === 'gap') return `${many(rest.lost, 'event')} are missing here`;
  if (typeof rest.message === 'string') return rest.message;
  const said = Object.entries(rest).filter(([, value]) => value !== null && value !== undefined && value !== '');
  return said.map(([name, value]) => `${spaced(name)} ${value?.message ?? (typeof value === 'object' ? JSON.stringify(value) : value)}`).join(', ');
}

/** workerId: worker; afterMs: after ms. */
function spaced(name) {
  return name === 'workerId' ? 'worker' : name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

export function showHealth({ status }) {
  const pill = byId('status');
  say(pill, status);
  mark(pill, 'data-kind', { healthy: 'good', degraded: 'warn', critical: 'bad' }[status] ?? 'unknown');
  document.title = status === 'healthy' ? 'drover' : `${status} · drover`;
}
