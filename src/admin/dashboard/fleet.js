// The table of the machines of a fleet. It is hidden without one.

import { byId, make, mark, say } from './dom.js';
import { duration, text } from './format.js';
import { Table, cellsOf, fillCells, heading } from './table.js';

const STATES = { healthy: 'good', degraded: 'warn', critical: 'bad' };

/** The heading and the content of each column. */
const COLUMNS = [
  ['PID', ({ pid }) => String(pid)],
  ['Workers', figure('count', 'workers')],
  ['Requests/s', figure('rate', 'requestsPerSecond')],
  ['p99', figure('ms', 'p99')],
  ['Errors', figure('part', 'errorRate')],
  ['CPU', figure('percent', 'cpuUsage')],
  ['Memory', figure('bytes', 'memoryUsage')],
  ['Connections', figure('count', 'activeConnections')],
  ['Up', ({ startedAt }) => duration(Date.now() - startedAt)],
];

/** The text of one of a machine's figures. */
function figure(unit, name) {
  return ({ figures }) => text(unit, figures?.[name] ?? null);
}

export class FleetTable {
  #table;

  constructor() {
    const headings = [heading('Machine', true), heading('State', true), ...COLUMNS.map(([name]) => heading(name))];
    this.#table = new Table('fleet-table', headings, 'No machines yet', rowOf);
  }

  /** `fleet`: of /cluster/fleet; null: there is none. */
  show(fleet) {
    byId('fleet').hidden = fleet === null;
    if (fleet === null) return;
    const { available, reason, members, leader, id } = fleet;
    say(byId('fleet-count'), available ? `${text('count', members.length)} ${members.length === 1 ? 'machine' : 'machines'}` : `Redis cannot be used: ${reason ?? 'it is not reached yet'}`);
    byId('fleet-count').classList.toggle('alert', !available);
    const sorted = [...members].sort((a, b) => a.host.localeCompare(b.host) || a.pid - b.pid);
    this.#table.show(sorted, (member) => member.id, (row, member) => fill(row, member, { leads: member.id === leader, isOwn: member.id === id }));
  }
}

function rowOf(id) {
  const cells = cellsOf(COLUMNS);
  const name = make('span', { role: 'rowheader', class: 'left' });
  const state = make('span', { class: 'pill' });
  const element = make('div', { role: 'row', 'data-machine': id }, name, make('span', { role: 'cell', class: 'left state', 'data-heading': 'State' }, state), ...cells);
  return { element, name, state, cells };
}

function fill({ name, state, cells }, member, { leads, isOwn }) {
  const marks = [isOwn && 'this machine', leads && 'leads'].filter(Boolean).join(', ');
  say(name, marks === '' ? member.host : `${member.host} (${marks})`);
  const status = member.figures?.status ?? 'unknown';
  say(state, status);
  mark(state, 'data-kind', STATES[status] ?? 'unknown');
  fillCells(cells, COLUMNS, member);
}
