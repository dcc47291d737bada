// What is asked of the monitoring API, and the token, which stays in this tab.

const TOKEN = 'drover.token';
/** Milliseconds after which a question counts as lost. The API answers in a few. */
const PATIENCE = 8000;

export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (value) => sessionStorage.setItem(TOKEN, value),
  forget: () => sessionStorage.removeItem(TOKEN),
};

/** An answer that is an error: its status, what the API says of it, and the token that it was asked with or null. */
export class Refused extends Error {
  constructor(status, { code = 'UNKNOWN', message = `status ${status}` } = {}, shown = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.shown = shown;
  }
}

/** Asks with the token, where there is one: an API beyond loopback wants it always. Resolves to a good answer. */
async function ask(path, { headers = {}, ...options }, good = []) {
  const shown = token.get();
  const all = shown === null ? headers : { ...headers, authorization: `Bearer ${shown}` };
  const response = await fetch(path, { ...options, headers: all, cache: 'no-store' });
  if (response.ok || good.includes(response.status)) return response;
  const body = await response.json().catch(() => ({}));
  throw new Refused(response.status, body.error, shown);
}

/** `good`: statuses besides 2xx whose body is an answer. */
export async function get(path, { good = [] } = {}) {
  return (await ask(path, { signal: AbortSignal.timeout(PATIENCE) }, good)).json();
}

/** Answers when the cluster has done it, which for a roll of many workers takes a while. */
export async function post(path, body) {
  const sent = body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  return (await ask(path, { method: 'POST', ...sent })).json();
}

/** What this cluster's API serves: { paths, version }. */
export async function description() {
  const { paths, info } = await get('/openapi.json');
  return { paths: new Set(Object.keys(paths)), version: info.version };
}

/** Follows the stream of events until it ends or is broken off; resolves to the last id, for the next time. */
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
    // A line that begins with a colon is a comment, which keeps the connection alive.
    if (at <= 0) continue;
    const [field, value] = [line.slice(0, at), line.slice(at + 1).replace(/^ /, '')];
    if (field === 'id') event.id = value;
    if (field === 'data') event.data += value;
  }
  return event;
}
