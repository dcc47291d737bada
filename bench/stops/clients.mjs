// Clients that open a connection for each request until they are refused, and what became of each.

import net from 'node:net';

const REQUEST = 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';
/** A SYN that was dropped is repeated after a second; who is refused after this was, milliseconds. */
const LATE_MS = 900;
/** A client that hears nothing for so long was forgotten, milliseconds. */
const SILENCE_MS = 5000;

/** The status of a whole response, or null. */
function status(text) {
  const [head, body] = text.split('\r\n\r\n');
  const [, code] = /^HTTP\/1\.1 (\d{3}) /.exec(head) ?? [];
  const [, length] = /\r\nContent-Length: (\d+)/i.exec(head) ?? [];
  return code !== undefined && Number(length) === body?.length ? Number(code) : null;
}

/**
 * One request. Resolves to `answered`, `unavailable` (503), `reset` (the kernel had accepted it, and no whole response
 * came), `silent`, `refused` or `refusedLate`.
 */
function ask(port) {
  const since = performance.now();
  return new Promise((resolve) => {
    let [text, accepted] = ['', false];
    const socket = net.connect(port, '127.0.0.1');
    socket.setEncoding('latin1').setTimeout(SILENCE_MS, () => end('silent'));
    const end = (what) => {
      resolve(what);
      socket.destroy();
    };
    socket.on('connect', () => {
      accepted = true;
      socket.write(REQUEST);
    });
    socket.on('data', (chunk) => (text += chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      if (!accepted) return end(performance.now() - since > LATE_MS ? 'refusedLate' : 'refused');
      const code = status(text);
      if (code === 503) return end('unavailable');
      return end(code === 200 ? 'answered' : 'reset');
    });
  });
}

/**
 * So many clients ask one after the other, each until its first refusal. `counts` grows as they do; `answered` resolves
 * when so many requests were answered, or all are over.
 *
 * @returns {{ counts: Record<string, number>, done: Promise<void>, answered(count: number): Promise<void> }}
 */
export function askUntilRefused(port, clients) {
  const counts = { answered: 0, unavailable: 0, reset: 0, silent: 0, refused: 0, refusedLate: 0 };
  const waiting = new Set();
  const run = async () => {
    for (let last = null; last !== 'refused' && last !== 'refusedLate'; counts[last] += 1) {
      last = await ask(port);
      waiting.forEach((look) => look());
    }
  };
  const done = Promise.all(Array.from({ length: clients }, run)).then(() => undefined);
  const answered = (count) => {
    const reached = new Promise((resolve) => waiting.add(() => counts.answered >= count && resolve()));
    return Promise.race([reached, done]);
  };
  return { counts, done, answered };
}
