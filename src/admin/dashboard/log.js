// The last lines of the log. The view follows the newest line if it is scrolled to the end; else it does not move.

import { get } from './api.js';
import { byId, make } from './dom.js';
import { clock } from './format.js';
import { nothing } from './panels.js';

/** The maximum number of lines in the page. */
const MAX_LINES = 500;
/** The maximum number of lines per request. */
const LIMIT = 200;
/** Distance from the end, in pixels, that still counts as the end. */
const NEAR = 24;
/** Milliseconds without a keystroke after which the text filter is applied. */
const TYPED = 250;

const LEVELS = [[60, 'fatal'], [50, 'error'], [40, 'warn'], [30, 'info'], [20, 'debug'], [0, 'trace']];
const KINDS = { fatal: 'bad', error: 'bad', warn: 'warn' };

/** The name of a level, from pino's number or name. */
const levelOf = (level) => (typeof level === 'number' ? LEVELS.find(([least]) => level >= least)[1] : String(level ?? ''));

export class Log {
  #panel = byId('log');
  #after = null;
  #paused = false;
  #asking = false;
  /** Incremented with each change of the filter; responses to earlier requests are discarded. */
  #filter = 0;

  constructor() {
    let typed;
    byId('log-level').addEventListener('change', () => this.restart());
    byId('log-text').addEventListener('input', () => {
      clearTimeout(typed);
      typed = setTimeout(() => this.restart(), TYPED);
    });
    byId('log-filter').addEventListener('submit', (event) => event.preventDefault());
    const pause = byId('log-pause');
    pause.addEventListener('click', () => {
      this.#paused = !this.#paused;
      pause.setAttribute('aria-pressed', String(this.#paused));
    });
  }

  /** Clears and reloads the lines: the filter or the cluster has changed. */
  restart() {
    this.#after = null;
    this.#filter += 1;
    this.#asking = false;
    this.#panel.replaceChildren();
    return this.look();
  }

  async look() {
    if (this.#paused || this.#asking) return;
    this.#asking = true;
    const filter = this.#filter;
    const query = new URLSearchParams({ limit: String(LIMIT) });
    if (this.#after !== null) query.set('after', this.#after);
    for (const [name, id] of [['level', 'log-level'], ['text', 'log-text']]) if (byId(id).value !== '') query.set(name, byId(id).value);
    try {
      const answer = await get(`/cluster/logs?${query}`);
      if (filter === this.#filter) this.#show(answer);
    } finally {
      if (filter === this.#filter) this.#asking = false;
    }
  }

  #show({ lines, next, dropped }) {
    byId('log-filter').hidden = false;
    if (next !== undefined && next !== null) this.#after = String(next);
    const panel = this.#panel;
    if (lines.length === 0 && panel.querySelector('.entry') === null) return nothing(panel, dropped > 0 ? `No lines; ${dropped} were dropped.` : 'No lines yet.');
    const isAtEnd = panel.scrollHeight - panel.scrollTop - panel.clientHeight < NEAR;
    panel.querySelector(':scope > .none-yet')?.remove();
    panel.append(...lines.map(entry));
    while (panel.childElementCount > MAX_LINES) panel.firstElementChild.remove();
    if (isAtEnd && lines.length > 0) panel.scrollTop = panel.scrollHeight;
  }
}

function entry({ time, level, worker, requestId, msg }) {
  const name = levelOf(level);
  const who = worker === null || worker === undefined ? '' : `w${worker}`;
  return make(
    'div',
    { class: 'entry', 'data-kind': KINDS[name], title: requestId && `request ${requestId}` },
    make('span', {}, clock(time)),
    make('span', { class: 'level' }, name),
    make('span', {}, who),
    make('span', { class: 'msg' }, String(msg ?? '')),
  );
}
