// The page. While it is visible, it polls the API every second and after each event, and reports a lost connection.

import { Refused, description, follow, get } from './api.js';
import { CacheTable } from './cache.js';
import { Charts } from './charts.js';
import { Controls, unlock } from './controls.js';
import { byId, make, mark, say } from './dom.js';
import { FleetTable } from './fleet.js';
import { clock, duration, kinds, many, text } from './format.js';
import { Log } from './log.js';
import { missing, nothing, showErrors, showEvent, showHealth, showScaling } from './panels.js';
import { Workers } from './workers.js';

/** Milliseconds between two polls, and from an event to the next poll. */
const [EVERY, SOON] = [1000, 200];
/** Polls between two requests for the lists, the log lines and the whole history. */
const [LISTS, LINES, HISTORY] = [5, 2, 60];
/** Milliseconds after which a stream that ended is opened again. */
const AGAIN = 2000;

/** Title, kind of the value, the value, a detail, and the limits for a warning and an error. */
const TILES = [
  ['Requests', 'rate', (now) => now.requestsPerSecond, (now) => `${text('count', now.totalRequests)} in total`],
  ['Response, median', 'ms', (now) => now.p50, (now) => `average ${text('ms', now.averageResponseTime)}`],
  ['Response, p99', 'ms', (now) => now.p99, (now) => `p90 ${text('ms', now.p90)}, p99.9 ${text('ms', now.p999)}`],
  ['Errors', 'part', (now) => now.errorRate, (now) => `${text('count', now.totalErrors)} in total`, [0.01, 0.05]],
  ['CPU', 'percent', (now) => now.cpuUsage, (now) => machine(now.system, 'cpu'), [90, 98]],
  ['Memory', 'bytes', (now) => now.memoryUsage, (now) => machine(now.system, 'memory')],
  ['Loop delay', 'ms', (now) => now.eventLoopLag, () => 'of the slowest worker', [100, 500]],
  ['Connections', 'count', (now) => now.activeConnections, (now) => `${many(now.activeRequests, 'request')} in flight`],
  ['Queue', 'count', (now) => now.queueLength, (now) => `${text('count', now.refusedConnections)} refused`, [1, 100]],
  ['Restarts', 'count', (now) => now.restartCount, (now) => `${now.activeWorkers} of ${now.totalWorkers} workers ready, ${now.replacementCount} replaced as planned`],
];

function machine(system, what) {
  if (!system) return '';
  if (what === 'cpu') return `machine ${text('percent', system.cpu.usage)}`;
  return `machine ${text('bytes', system.memory.used)} of ${text('bytes', system.memory.total)}`;
}

const tiles = TILES.map(([title, , , , limits]) => {
  const [figure, unit, more] = [make('span'), make('span', { class: 'unit' }), make('dd', { class: 'more' })];
  const tile = make('div', { class: 'tile' }, make('dt', {}, title), make('dd', { class: 'value' }, figure, unit), more);
  byId('tiles').append(tile);
  return { tile, figure, unit, more, limits };
});

function showTiles(now) {
  TILES.forEach(([, kind, value, more], at) => {
    const { tile, figure, unit, more: below, limits } = tiles[at];
    const shown = kinds[kind](value(now));
    say(figure, shown[0]);
    say(unit, shown[1]);
    say(below, more(now));
    const above = limits ? limits.filter((limit) => value(now) >= limit).length : 0;
    mark(tile, 'data-kind', [null, 'warn', 'bad'][above]);
  });
}

const charts = new Charts(byId('charts'));
const controls = new Controls(() => lookSoon());
const workers = new Workers((id, button) => controls.restartWorker(id, button));
const cache = new CacheTable();
const fleet = new FleetTable();
const log = new Log();

let served = null;
let lostSince = null;
let looks = 0;
let timer;
let looking = false;
let again = false;
/** Polling has stopped: the API requires a token and the user entered none. */
let isLocked = false;
let uptime = 0;
let stream = null;
/** The id of the last event received: the next stream resumes after it. */
let lastEvent = '';

const serves = (path) => served?.has(path) ?? false;

async function range() {
  await charts.load(Number(document.querySelector('input[name=range]:checked').value));
}

/** The first poll of a cluster, or of a cluster that is reachable again. */
async function meet() {
  const { paths, version } = await description();
  served = paths;
  say(byId('version'), `drover ${version}`);
  byId('scaling-section').hidden = !serves('/cluster/scaling');
  for (const [id, path] of [['errors', '/cluster/errors'], ['events', '/cluster/events'], ['log', '/cluster/logs']])
    if (!serves(path)) missing(byId(id), path);
  await range();
  if (serves('/cluster/logs')) await log.restart();
  if (serves('/cluster/events') && !document.hidden) listen();
}

async function look() {
  const [now, health] = await Promise.all([get('/cluster/stats'), get('/cluster/health', { good: [503] })]);
  // The uptime went back: another cluster answers at this address.
  if (now.uptime < uptime) served = null;
  uptime = now.uptime;
  charts.setClock(now.timestamp);
  if (served === null) {
    await meet();
    looks = 0;
  }
  showTiles(now);
  showHealth(health);
  charts.add(now);
  workers.show(now.workers, health);
  controls.show(now.totalWorkers);
  const { cpu } = now.system ?? {};
  say(byId('facts'), `up ${duration(now.uptime)}${cpu ? ` · ${cpu.cores} cores, load ${cpu.loadAverage[0].toFixed(2)}` : ''}`);
  if (looks % LISTS === 0) await lists();
  if (looks % LINES === 0 && serves('/cluster/logs')) await log.look();
  if (looks % HISTORY === HISTORY - 1) await range();
  looks += 1;
}

async function lists() {
  const ask = async (path, show) => serves(path) && show(await get(path));
  await Promise.all([
    ask('/cluster/errors', showErrors),
    ask('/cluster/scaling', (scaling) => { showScaling(scaling); charts.mark(scaling.decisions); }),
    ask('/cluster/cache', ({ namespaces }) => cache.show(namespaces)),
    ask('/cluster/fleet', (answer) => fleet.show(answer.fleet)),
  ]);
}

/** Whether the API requires a token. */
const isRefused = (error) => error instanceof Refused && error.status === 401;

/** Polls and schedules the next poll; polls never overlap. */
async function lookOn() {
  clearTimeout(timer);
  if (looking) {
    again = true;
    return;
  }
  if (document.hidden) return;
  looking = true;
  try {
    await look();
    found();
  } catch (error) {
    if (!isRefused(error)) lost(error);
    else if (await unlock(error.shown)) [served, again] = [null, true];
    else locked();
  }
  looking = false;
  if (isLocked) return;
  timer = setTimeout(lookOn, again ? SOON : EVERY);
  again = false;
}

/** Polls now, with the lists: after an event or a command. */
function lookSoon() {
  isLocked = false;
  looks = 0;
  lookOn();
}

function found() {
  if (byId('lost').hidden) return;
  lostSince = null;
  byId('lost').hidden = true;
  document.documentElement.classList.remove('is-lost');
}

function lost(error) {
  // The next poll asks for the token.
  if (isRefused(error)) return;
  console.debug('drover:', error);
  served = null;
  stream?.abort();
  if (lostSince !== null) return;
  lostSince = Date.now();
  const since = `Connection lost since ${clock(lostSince)}.`;
  showLost('no answer', `${since} The values are from that time; the page retries every second.`);
}

function locked() {
  isLocked = true;
  stream?.abort();
  showLost('locked', 'This cluster requires its token. Reload the page to enter it.');
}

function showLost(status, text) {
  const box = byId('lost');
  say(box, text);
  box.hidden = false;
  document.documentElement.classList.add('is-lost');
  say(byId('status'), status);
  mark(byId('status'), 'data-kind', 'bad');
  document.title = `${status} · drover`;
}

/** Follows the cluster's events while the page is visible. */
async function listen() {
  stream?.abort();
  const mine = new AbortController();
  stream = mine;
  if (byId('events').childElementCount === 0) nothing(byId('events'), 'No events since the page was opened.');
  while (!mine.signal.aborted) {
    try {
      lastEvent = await follow('/cluster/events', lastEvent, mine.signal, (event, id) => {
        lastEvent = id;
        if (event === null) return;
        showEvent(event);
        lookSoon();
      });
    } catch {
      // The poll reports a lost connection; the stream is opened again below.
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN));
  }
}

for (const radio of document.querySelectorAll('input[name=range]')) radio.addEventListener('change', () => range().catch(lost));

document.addEventListener('visibilitychange', () => {
  if (document.hidden) {
    stream?.abort();
    clearTimeout(timer);
  } else if (!isLocked) {
    served = null;
    lookOn();
  }
});

const dark = matchMedia('(prefers-color-scheme: dark)');
const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? 'dark' : 'light')) === 'dark';

function paint() {
  say(byId('theme'), isDark() ? 'Light theme' : 'Dark theme');
  charts.repaint();
}

const chosen = localStorage.getItem('drover.theme');
if (chosen === 'dark' || chosen === 'light') document.documentElement.dataset.theme = chosen;
byId('theme').addEventListener('click', () => {
  document.documentElement.dataset.theme = isDark() ? 'light' : 'dark';
  localStorage.setItem('drover.theme', document.documentElement.dataset.theme);
  paint();
});
dark.addEventListener('change', paint);
paint();
lookOn();
