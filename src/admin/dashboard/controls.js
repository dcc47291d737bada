// The controls: restart and scale. A restart asks for confirmation; a command asks for the token if required.

import { Refused, post, token } from './api.js';
import { byId, say, toast } from './dom.js';
import { many } from './format.js';

/** Opens a dialog; resolves to whether the user confirmed. The focus returns to the element that had it. */
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

/** The characters that a header value may contain; a token has no others. */
const SHOWABLE = /^[ -~]+$/;

/** Asks for the token; resolves to false if the user cancels. */
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

/** The promise of the open token dialog, shared by all requests that need the token; else null. */
let asking = null;

/** Asks for the token after a 401; resolves to false if the user cancels. `shown`: the refused token, or null. */
export function unlock(shown) {
  // Another token was entered since that request.
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

/** Posts a command, and asks for the token after each 401; resolves to undefined if the user cancels. */
async function command(path, body) {
  for (;;) {
    try {
      return await post(path, body);
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 401) throw error;
      if (!(await unlock(error.shown))) return undefined;
    }
  }
}

/** Runs a command and shows its result; its button is busy in the meantime. */
async function carryOut(button, what, path, body) {
  if (button.getAttribute('aria-busy') === 'true') return;
  button.setAttribute('aria-busy', 'true');
  try {
    const answer = await command(path, body);
    if (answer === undefined) return;
    if (answer.workers === null) toast(`${what}: still in progress`);
    else toast(`${what}: done${answer.workers.length > 0 ? `, ${many(answer.workers.length, 'worker')} ready` : ''}`);
  } catch (error) {
    toast(`${what}: ${error.message}`, 'bad');
  } finally {
    button.removeAttribute('aria-busy');
  }
}

export class Controls {
  #size = byId('size');
  /** Whether the user has changed the number without submitting it. */
  #edited = false;

  /** `changed()` is called after a command. */
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
      toast('Token removed');
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

  /** Shows the number of workers, unless the user is editing the field. */
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
    const text = 'Workers are replaced one at a time; each replacement starts first. No request is lost.';
    if (!(await confirmed('Restart all workers?', text, 'Restart all'))) return;
    await carryOut(byId('restart-all'), 'Restart of all workers', '/cluster/restart');
    this.changed();
  }

  async restartWorker(id, button) {
    const text = 'A replacement starts first; then this worker finishes its requests and exits. No request is lost.';
    if (!(await confirmed(`Restart worker ${id}?`, text, 'Restart'))) return;
    await carryOut(button, `Restart of worker ${id}`, `/cluster/workers/${encodeURIComponent(id)}/restart`);
    this.changed();
  }
}
