// The table of the workers. A row is kept as long as its worker's slot exists, so that the focus stays.

import { byId, make, mark, say } from './dom.js';
import { duration, text } from './format.js';

const STATES = { ready: 'good', standby: 'good', starting: 'warn', waiting: 'warn', draining: 'warn', stopping: 'warn', 'circuit-open': 'bad' };

/** The heading and the content of each column. */
const COLUMNS = [
  ['PID', ({ pid }) => (pid === null ? '–' : String(pid))],
  ['Uptime', ({ uptime, startTime }) => (startTime ? duration(uptime) : '–')],
  ['Restarts', ({ restarts }) => text('count', restarts)],
  ['Requests', ({ requestCount }) => text('count', requestCount)],
  ['Connections', ({ activeConnections }) => text('count', activeConnections)],
  ['Response', ({ averageResponseTime }) => text('ms', averageResponseTime)],
  ['CPU', ({ cpuUsage }) => text('percent', cpuUsage)],
  ['Memory', ({ memoryUsage }) => text('bytes', memoryUsage)],
  ['Loop delay', ({ eventLoopLag }) => text('ms', eventLoopLag)],
];

export class Workers {
  #rows = new Map();

  /** `restart(id, button)` is called when the button of a row is clicked. */
  constructor(restart) {
    this.restart = restart;
    this.body = byId('worker-table-body');
    this.empty = make('p', { class: 'empty', role: 'row' }, make('span', { role: 'cell' }, 'No workers yet'));
    const heading = (name, left = false) => make('span', { role: 'columnheader', class: left && 'left' }, name);
    byId('worker-table-head').append(
      make(
        'div',
        { role: 'row' },
        heading('Worker', true),
        heading('State', true),
        ...COLUMNS.map(([name]) => heading(name)),
        heading('Health', true),
        make('span', { role: 'columnheader' }, make('span', { class: 'unseen' }, 'Restart')),
      ),
    );
  }

  /** `health`: the body of /cluster/health, for the reasons of each worker. */
  show(workers, health) {
    const reasons = new Map(health.details.map((detail) => [detail.workerId, detail.reasons ?? []]));
    const present = new Set(workers.map(({ id }) => id));
    for (const [id, row] of this.#rows) {
      if (present.has(id)) continue;
      row.element.remove();
      this.#rows.delete(id);
    }
    if (workers.length === 0) this.body.append(this.empty);
    else this.empty.remove();
    workers.forEach((worker, at) => {
      const row = this.#rows.get(worker.id) ?? this.#make(worker.id);
      if (this.body.children[at] !== row.element) this.body.insertBefore(row.element, this.body.children[at] ?? null);
      fill(row, worker, reasons.get(worker.id) ?? []);
    });
  }

  #make(id) {
    const state = make('span', { class: 'pill' });
    const cells = COLUMNS.map(([heading]) => make('span', { role: 'cell', 'data-heading': heading }));
    const health = make('span', { role: 'cell', class: 'left wrap health', 'data-heading': 'Health' });
    const button = make('button', { type: 'button', 'aria-label': `Restart worker ${id}` }, 'Restart');
    button.addEventListener('click', () => this.restart(id, button));
    const element = make(
      'div',
      { role: 'row', 'data-worker': id },
      make('span', { role: 'rowheader', class: 'left' }, id),
      make('span', { role: 'cell', class: 'left state', 'data-heading': 'State' }, state),
      ...cells,
      health,
      make('span', { role: 'cell', class: 'act', 'data-heading': 'Restart' }, button),
    );
    const row = { element, state, cells, health };
    this.#rows.set(id, row);
    return row;
  }
}

function fill({ state, cells, health }, worker, reasons) {
  say(state, worker.detail);
  mark(state, 'data-kind', STATES[worker.detail] ?? 'unknown');
  COLUMNS.forEach(([, figure], at) => {
    const shown = figure(worker);
    say(cells[at], shown);
    cells[at].classList.toggle('faint', shown === '–' || shown === '0');
  });
  say(health, worker.healthy ? (worker.health?.status ?? 'healthy') : reasons.join('; ') || worker.health?.status || 'unhealthy');
  health.classList.toggle('faint', worker.healthy);
  health.classList.toggle('alert', !worker.healthy);
}
