// Statistics and formatting of figures.

/** The middle of the values, or the mean of the two in the middle. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** A ratio to three digits after the point; what could not be measured stays null. */
export const ratio = (value) => (Number.isFinite(value) ? Math.round(value * 1000) / 1000 : null);

/** A whole number with separators. */
export const count = (value) => (value === null ? '-' : Math.round(value).toLocaleString('en'));

/** A row of a table: each cell padded to its column's width. */
export const row = (cells, widths) => cells.map((cell, n) => String(cell).padEnd(widths[n])).join('  ');
