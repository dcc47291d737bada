// The table of the shared cache, a row for each namespace. It is hidden until the cache is used.

import { byId, make, say } from './dom.js';
import { text } from './format.js';
import { Table, cellsOf, fillCells, heading } from './table.js';

/** The heading and the content of each column; `waited`: callers that got a value which another caller computed. */
const COLUMNS = [
  ['Hit ratio', ratio],
  ['Near hits', ({ nearHits }) => text('count', nearHits)],
  ['Far hits', ({ farHits }) => text('count', farHits)],
  ['Misses', ({ misses }) => text('count', misses)],
  ['Computed', ({ computed }) => text('count', computed)],
  ['Flights saved', ({ waited }) => text('count', waited)],
  ['Evicted', ({ evicted }) => text('count', evicted)],
  ['Refused', ({ refused }) => text('count', refused)],
  ['Entries', ({ entries }) => text('count', entries)],
  ['Memory', ({ bytes }) => text('bytes', bytes)],
];

/** The part of the looks that found a value. */
function ratio({ nearHits, farHits, misses }) {
  const looks = nearHits + farHits + misses;
  return text('part', looks === 0 ? null : 1 - misses / looks);
}

const sum = (namespaces, figure) => namespaces.reduce((total, namespace) => total + figure(namespace), 0);

export class CacheTable {
  #table;

  constructor() {
    const headings = [heading('Namespace', true), ...COLUMNS.map(([name]) => heading(name))];
    this.#table = new Table('cache-table', headings, 'No namespaces', rowOf);
  }

  /** `namespaces`: of /cluster/cache. */
  show(namespaces) {
    byId('cache').hidden = namespaces.length === 0;
    const entries = sum(namespaces, (one) => one.entries);
    say(byId('cache-count'), `${text('count', entries)} ${entries === 1 ? 'entry' : 'entries'}, ${text('bytes', sum(namespaces, ({ bytes }) => bytes))}`);
    const sorted = [...namespaces].sort((a, b) => a.namespace.localeCompare(b.namespace));
    this.#table.show(sorted, ({ namespace }) => namespace, ({ cells }, figures) => fillCells(cells, COLUMNS, figures));
  }
}

function rowOf(namespace) {
  const cells = cellsOf(COLUMNS);
  // The namespace of `app.cache` itself has no name.
  const name = make('span', { role: 'rowheader', class: 'left' }, namespace === '' ? 'app.cache' : namespace);
  return { element: make('div', { role: 'row', 'data-namespace': namespace }, name, ...cells), cells };
}
