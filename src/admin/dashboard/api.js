// Requests to the monitoring API. The token is kept in this tab's session storage.

const TOKEN = 'drover.token';
/** Milliseconds after which a GET is aborted. The API usually answers within a few. */
const TIMEOUT = 8000;

export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (value) => sessionStorage.setItem(TOKEN, value),
  forget: () => sessionStorage.removeItem(TOKEN),
};

/** An error response: its status, its code and message, and the token that the request carried, or null. */
export class Refused extends Error {
  constructor(status, { code = 'UNKNOWN', message = `status ${status}` } = {}, shown = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.shown = shown;
  }
}

/** Sends a request, with the token if there is one. Rejects with Refused if the status is neither 2xx nor in `good`. */
async function ask(path, { headers = {}, ...options }, good = []) {
  const shown = token.get();
  const all = shown === null ? headers : { ...headers, authorization: `Bearer ${shown}` };
  const response = await fetch(path, { ...options, headers: all, cache: 'no-store' });
  if (response.ok || good.includes(response.status)) return response;
  const body = await response.json().catch(() => ({}));
  throw new Refused(response.status, body.error, shown);
}

/** Resolves to the JSON body. `good`: statuses other than 2xx that are no error. */
export async function get(path, { good = [] } = {}) {
  return (await ask(path, { signal: AbortSignal.timeout(TIMEOUT) }, good)).json();
}

/** Resolves to the JSON body when the command has ended; a restart of many workers can take minutes. */
export async function post(path, body) {
  const sent = body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  return (await ask(path, { method: 'POST', ...sent })).json();
}

/** The paths of this cluster's API and the version of drover: { paths, version }. */
export async function description() {
  const { paths, info } = await get('/openapi.json');
  return { paths: new Set(Object.keys(paths)), version: info.version };
}

/** Calls `heard(event, id)` for each event until the stream ends; resolves to the last event id, to resume from. */
export async function follow(path, lastId, signal, heard) {
  const headers = { accept: 'text/event-stream', ...(lastId === '' ? {} : { 'last-event-id': lastId }) };
  const response = await ask(path, { headers, signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let [rest, id] = ['', lastId];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return id;
    rest += value.replaceAll('\r\n', '\n');
    for (let end = rest.indexOf('\n\n'); end >= 0; end = rest.indexOf('\n\n')) {
      const event = parse(rest.slice(0, end));
      rest = rest.slice(end + 2);
      id = event.id ?? id;
      heard(event.data === '' ? null : JSON.parse(event.data), id);
    }
  }
}

function parse(block) {
  const event = { id: undefined, data: '' };
  for (const line of block.split('\n')) {
    const at = line.indexOf(':');
    // A line that begins with a colon is a comment, sent to keep the connection alive.
    if (at <= 0) continue;
    const [field, value] = [line.slice(0, at), line.slice(at + 1).replace(/^ /, '')];
    if (field === 'id') event.id = value;
    if (field === 'data') event.data += value;
  }
  return event;
}
