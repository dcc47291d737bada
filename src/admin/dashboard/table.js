// The tables of the page: one row for each thing that they show. A row is kept as long as its thing exists, so that the
// focus and the selection stay.

import { byId, make, say } from './dom.js';

/** A heading of a column. */
export const heading = (name, left = false) => make('span', { role: 'columnheader', class: left && 'left' }, name);

/** The cells of columns, each a heading and the text of it. */
export const cellsOf = (columns) => columns.map(([name]) => make('span', { role: 'cell', 'data-heading': name }));

/** Writes what the columns show of `item` into their cells. */
export function fillCells(cells, columns, item) {
  columns.forEach(([, shown], at) => {
    const text = shown(item);
    say(cells[at], text);
    cells[at].classList.toggle('faint', text === '–' || text === '0');
  });
}

export class Table {
  #rows = new Map();
  #body;
  #empty;
  #make;

  /**
   * `name`: of the element ids; `headings`: elements; `empty`: the text of a table without rows; `makeRow(key)`: returns
   * an object with the row's `element`.
   */
  constructor(name, headings, empty, makeRow) {
    this.#body = byId(`${name}-body`);
    this.#empty = make('p', { class: 'empty', role: 'row' }, make('span', { role: 'cell' }, empty));
    this.#make = makeRow;
    byId(`${name}-head`).append(make('div', { role: 'row' }, ...headings));
  }

  /** Shows the items in their order: `key(item)` tells which row is its own, and `fill(row, item)` fills it. */
  show(items, key, fill) {
    const present = new Set(items.map(key));
    for (const [known, row] of this.#rows) {
      if (present.has(known)) continue;
      row.element.remove();
      this.#rows.delete(known);
    }
    if (items.length === 0) this.#body.append(this.#empty);
    else this.#empty.remove();
    items.forEach((item, at) => {
      const row = this.#rows.get(key(item)) ?? this.#add(key(item));
      if (this.#body.children[at] !== row.element) this.#body.insertBefore(row.element, this.#body.children[at] ?? null);
      fill(row, item);
    });
  }

  #add(key) {
    const row = this.#make(key);
    this.#rows.set(key, row);
    return row;
  }
}
