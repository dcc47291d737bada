// How each request ended: no clock, no I/O; the time is an argument, in milliseconds of any one clock. Every
// request has exactly one verdict in the end:
//
//   ok           the right answer, once
//   failed       no answer, or one that says it was not served (a status other than 200)
//   hung         no answer 10 s after it should have come
//   wrong        an answer that is not this request's
//   duplicated   a second answer came, or it was executed twice

/** Milliseconds after an answer should have come in which it may still come. */
export const PATIENCE_MS = 10_000;

export const VERDICTS = ['ok', 'failed', 'hung', 'wrong', 'duplicated'];

export class Ledger {
  #open = new Map();
  /** Verdicts by id, of all that is settled. */
  #settled = new Map();
  /** { id, kind, verdict, reason, at, begun, connection } of each that is not ok. */
  failures = [];
  /** Counts of verdicts by kind of client. */
  kinds = {};

  /** A request leaves; `lasts` is how long its answer takes by its own nature. */
  begin(id, { kind, at, lasts = 0, connection = null }) {
    if (this.#open.has(id) || this.#settled.has(id)) throw new Error(`${id} was begun before`);
    this.#open.set(id, { id, kind, begun: at, due: at + lasts, connection });
  }

  /** Its rightful owner never got to it and said so: it is as if it had not been sent. */
  withdraw(id) {
    this.#open.delete(id);
  }

  /** An answer for `id` came. One that nobody waits for makes its request a duplicated one. */
  answer(id, isRight, at, reason = 'not its answer') {
    if (this.#open.has(id)) this.#settle(id, isRight ? 'ok' : 'wrong', at, reason);
    else this.#correct(id, 'duplicated', at, 'answered again');
  }

  /** It ended without an answer, or with a refusal. After it was given up as hung nothing changes. */
  fail(id, reason, at) {
    if (this.#open.has(id)) this.#settle(id, 'failed', at, reason);
  }

  /** Bytes came on a connection on which nobody waited: they count as an answer too many of its last request. */
  unasked(id, at) {
    this.#correct(id, 'duplicated', at, 'answered without having asked');
  }

  /** A request that the servers executed more than once. */
  executedTwice(id, at) {
    this.#correct(id, 'duplicated', at, 'executed twice');
  }

  /** Gives up what is overdue; the ids. */
  overdue(now) {
    const late = [...this.#open.values()].filter(({ due }) => now >= due + PATIENCE_MS).map(({ id }) => id);
    for (const id of late) this.#settle(id, 'hung', now, 'no answer');
    return late;
  }

  /** How many wait for an answer. */
  get waiting() {
    return this.#open.size;
  }

  totals() {
    const sum = (verdict) => Object.values(this.kinds).reduce((all, counts) => all + counts[verdict], 0);
    const totals = Object.fromEntries(VERDICTS.map((verdict) => [verdict, sum(verdict)]));
    return { requests: Object.values(totals).reduce((a, b) => a + b, 0), ...totals };
  }

  #settle(id, verdict, at, reason) {
    const request = this.#open.get(id);
    this.#open.delete(id);
    this.#settled.set(id, { verdict, request });
    this.#count(request.kind)[verdict] += 1;
    if (verdict !== 'ok') this.failures.push({ ...request, verdict, reason, at });
  }

  /** A settled request is worse than it seemed. */
  #correct(id, verdict, at, reason) {
    const settled = this.#settled.get(id);
    if (settled === undefined) throw new Error(`${id} is not a settled request`);
    if (settled.verdict === verdict) return;
    const counts = this.#count(settled.request.kind);
    counts[settled.verdict] -= 1;
    counts[verdict] += 1;
    settled.verdict = verdict;
    this.failures = this.failures.filter((failure) => failure.id !== id);
    this.failures.push({ ...settled.request, verdict, reason, at });
  }

  #count(kind) {
    return (this.kinds[kind] ??= Object.fromEntries(VERDICTS.map((verdict) => [verdict, 0])));
  }
}
