// Helpers for elements. All text of the cluster is inserted as text nodes, never parsed as HTML.

export const byId = (id) => document.getElementById(id);

/** Creates an element with attributes and children; attributes that are false, null or undefined are omitted. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children);
  return element;
}

/** Sets an element's text only if it differs, which keeps the selection and a screen reader's position. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function mark(element, name, value) {
  if (value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** Milliseconds for which a message is shown: enough to read two lines. */
const SHOWN = 8000;

/** Shows the result of a user's action. */
export function toast(text, kind = 'good') {
  const message = make('div', { class: 'toast', 'data-kind': kind }, text);
  byId('toasts').append(message);
  setTimeout(() => message.remove(), SHOWN);
}

const SVG = 'http://www.w3.org/2000/svg';

/** Counts as a row of bars, with `label` as the text alternative. */
export function bars(counts, label) {
  const image = document.createElementNS(SVG, 'svg');
  const most = Math.max(1, ...counts);
  for (const [name, value] of [['viewBox', `0 0 ${counts.length * 2} 22`], ['preserveAspectRatio', 'none'], ['class', 'trend'], ['role', 'img'], ['aria-label', label]])
    image.setAttribute(name, value);
  counts.forEach((count, at) => {
    const height = count === 0 ? 1 : Math.max(2, (count / most) * 22);
    const bar = document.createElementNS(SVG, 'rect');
    for (const [name, value] of [['x', at * 2], ['y', 22 - height], ['width', 1.5], ['height', height], ['fill', 'currentColor'], ['opacity', count === 0 ? 0.3 : 1]])
      bar.setAttribute(name, String(value));
    image.append(bar);
  });
  return image;
}
