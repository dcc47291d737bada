// The table of the workers.

import { make, mark, say } from './dom.js';
import { duration, text } from './format.js';
import { Table, cellsOf, fillCells, heading } from './table.js';

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
  #table;

  /** `restart(id, button)` is called when the button of a row is clicked. */
  constructor(restart) {
    const headings = [
      heading('Worker', true),
      heading('State', true),
      ...COLUMNS.map(([name]) => heading(name)),
      heading('Health', true),
      make('span', { role: 'columnheader' }, make('span', { class: 'unseen' }, 'Restart')),
    ];
    this.#table = new Table('worker-table', headings, 'No workers yet', (id) => rowOf(id, restart));
  }

  /** `health`: the body of /cluster/health, for the reasons of each worker. */
  show(workers, health) {
    const reasons = new Map(health.details.map((detail) => [detail.workerId, detail.reasons ?? []]));
    this.#table.show(workers, ({ id }) => id, (row, worker) => fill(row, worker, reasons.get(worker.id) ?? []));
  }
}

function rowOf(id, restart) {
  const state = make('span', { class: 'pill' });
  const cells = cellsOf(COLUMNS);
  const health = make('span', { role: 'cell', class: 'left wrap health', 'data-heading': 'Health' });
  const button = make('button', { type: 'button', 'aria-label': `Restart worker ${id}` }, 'Restart');
  button.addEventListener('click', () => restart(id, button));
  const element = make(
    'div',
    { role: 'row', 'data-worker': id },
    make('span', { role: 'rowheader', class: 'left' }, id),
    make('span', { role: 'cell', class: 'left state', 'data-heading': 'State' }, state),
    ...cells,
    health,
    make('span', { role: 'cell', class: 'act', 'data-heading': 'Restart' }, button),
  );
  return { element, state, cells, health };
}

function fill({ state, cells, health }, worker, reasons) {
  say(state, worker.detail);
  mark(state, 'data-kind', STATES[worker.detail] ?? 'unknown');
  fillCells(cells, COLUMNS, worker);
  say(health, worker.healthy ? (worker.health?.status ?? 'healthy') : reasons.join('; ') || worker.health?.status || 'unhealthy');
  health.classList.toggle('faint', worker.healthy);
  health.classList.toggle('alert', !worker.healthy);
}
