// What changes the cluster: restart and scale. Each is asked about once more, and shows the token where one is wanted.

import { Refused, post, token } from './api.js';
import { byId, say, toast } from './dom.js';
import { many } from './format.js';

/** Opens a dialog; resolves to whether it was agreed to. The focus goes back to where it was. */
function agreed(dialog) {
  return new Promise((resolve) => {
    dialog.returnValue = '';
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
    dialog.showModal();
  });
}

function confirmed(title, text, yes) {
  say(byId('confirm-title'), title);
  say(byId('confirm-text'), text);
  say(byId('confirm-yes'), yes);
  return agreed(byId('confirm'));
}

/** What a header can hold; nothing else is a token. */
const SHOWABLE = /^[ -~]+$/;

/** Asks for the token; false when there will be none. */
async function askForToken(wasWrong) {
  const field = byId('token');
  for (let isWrong = wasWrong; ; isWrong = true) {
    byId('token-wrong').hidden = !isWrong;
    field.value = '';
    const isGiven = await agreed(byId('ask-token'));
    const text = field.value.trim();
    field.value = '';
    if (!isGiven || text === '') return false;
    if (!SHOWABLE.test(text)) continue;
    token.set(text);
    showToken();
    return true;
  }
}

/** The dialog that is open, for all who want the token meanwhile. */
let asking = null;

/** The token was wanted, and `shown` was none or a wrong one: asks for it; false when there will be none. */
export function unlock(shown) {
  // Another has entered one since.
  if (asking === null && token.get() !== null && token.get() !== shown) return Promise.resolve(true);
  if (asking === null) {
    token.forget();
    showToken();
    asking = askForToken(shown !== null).finally(() => (asking = null));
  }
  return asking;
}

export function showToken() {
  byId('forget').hidden = token.get() === null;
}

/** Posts, and asks for the token as often as it is wrong; undefined when the user gave up. */
async function order(path, body) {
  for (;;) {
    try {
      return await post(path, body);
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 401) throw error;
      if (!(await unlock(error.shown))) return undefined;
    }
  }
}

/** Carries an order out; its button is busy meanwhile. */
async function carryOut(button, what, path, body) {
  if (button.getAttribute('aria-busy') === 'true') return;
  button.setAttribute('aria-busy', 'true');
  try {
    const answer = await order(path, body);
    if (answer === undefined) return;
    if (answer.workers === null) toast(`${what}: it takes longer and goes on`);
    else toast(`${what}: done${answer.workers.length > 0 ? `, ${many(answer.workers.length, 'worker')} ready` : ''}`);
  } catch (error) {
    toast(`${what}: ${error.message}`, 'bad');
  } finally {
    button.removeAttribute('aria-busy');
  }
}

export class Controls {
  #size = byId('size');
  /** The user has changed the number and not sent it. */
  #edited = false;

  /** `changed()` is called after an order. */
  constructor(changed) {
    this.changed = changed;
    for (const dialog of document.querySelectorAll('dialog')) {
      dialog.querySelector('button[value=no]').addEventListener('click', () => dialog.close('no'));
      dialog.querySelector('form').addEventListener('submit', (event) => {
        event.preventDefault();
        dialog.close('yes');
      });
    }
    byId('forget').addEventListener('click', () => {
      token.forget();
      showToken();
      toast('The token is forgotten');
      byId('theme').focus();
    });
    byId('fewer').addEventListener('click', () => this.#step(-1));
    byId('more').addEventListener('click', () => this.#step(1));
    this.#size.addEventListener('input', () => (this.#edited = true));
    byId('scale').addEventListener('submit', (event) => {
      event.preventDefault();
      this.scale();
    });
    byId('restart-all').addEventListener('click', () => this.restartAll());
    showToken();
  }

  #step(by) {
    this.#size.value = String(Math.min(1024, Math.max(1, (Number(this.#size.value) || 1) + by)));
    this.#edited = true;
  }

  /** The number of workers as it is; what the user is writing stays. */
  show(count) {
    if (!this.#edited && document.activeElement !== this.#size && count > 0) this.#size.value = String(count);
  }

  async scale() {
    const workers = Number(this.#size.value);
    if (!Number.isInteger(workers) || workers < 1 || workers > 1024) {
      toast('Number of workers: a whole number from 1 to 1024', 'bad');
      return this.#size.focus();
    }
    await carryOut(byId('apply'), `Scale to ${workers}`, '/cluster/scale', { workers });
    this.#edited = false;
    this.changed();
  }

  async restartAll() {
    const text = 'One worker after the other, each new one first. No request is lost.';
    if (!(await confirmed('Restart all workers?', text, 'Restart all'))) return;
    await carryOut(byId('restart-all'), 'Restart of all workers', '/cluster/restart');
    this.changed();
  }

  async restartWorker(id, button) {
    const text = 'A new worker takes its place first; then it finishes its requests and leaves. No request is lost.';
    if (!(await confirmed(`Restart worker ${id}?`, text, 'Restart'))) return;
    await carryOut(button, `Restart of worker ${id}`, `/cluster/workers/${encodeURIComponent(id)}/restart`);
    this.changed();
  }
}
