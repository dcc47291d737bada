'use strict';

// Runs a script as a user would and watches it from outside: its output, its end, the processes it leaves.

const { spawn } = require('node:child_process');
const { randomUUID } = require('node:crypto');
const fs = require('node:fs');
const { isDeepStrictEqual } = require('node:util');
const { setTimeout: wait } = require('node:timers/promises');
const { runtime } = require('./runtime');

/** Milliseconds that a test waits for what should happen soon, on a busy machine. */
const PATIENCE = 60_000;

/** Milliseconds after a process's end in which the rest of its output is read, while workers hold the pipes. */
const LAST_WORDS = 5000;

/** Milliseconds in which workers are gone once their primary is, with time for a busy machine. */
const ORPHANS_TIME = 5000;

/** A variable that every process of a run inherits, so that orphans are found whoever adopted them. */
const MARK = 'TEST_RUN_ID';

/** A variable that only workers are started with. */
const WORKERS = 'DROVER_CHANNEL';

/** Processes that were started with the mark, and with `also` if it is given. */
function processesMarked(mark, also = '') {
  const wanted = `\0${MARK}=${mark}\0`;
  return fs
    .readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        // The environment of a zombie is empty: it holds no port and needs no stop.
        const environment = `\0${fs.readFileSync(`/proc/${pid}/environ`, 'latin1')}`;
        return environment.includes(wanted) && (also === '' || environment.includes(`\0${also}=`));
      } catch {
        // It ended meanwhile, or belongs to somebody else.
        return false;
      }
    })
    .map(Number);
}

function signalIfAlive(pid, signal) {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

/** A worker's plain line as the log has it, in JSON or pretty. */
const WRAPPED = /^\{"level":(30|50),"time":\d+,"pid":\d+,"hostname":"[^"]*","env":"[^"]*","worker":"\d+",(?:"requestId":"[^"]*",)?"msg":(".*")\}$/;
const PRETTY = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[(INFO|ERROR)\] \[\d+\] (.*)$/;

/** What a worker wrote, and to which stream; other lines are what they are. */
function written(line) {
  const wrapped = line.match(WRAPPED);
  if (wrapped) return { stream: wrapped[1] === '50' ? 'stderr' : 'stdout', text: JSON.parse(wrapped[2]) };
  const pretty = line.match(PRETTY);
  if (pretty) return { stream: pretty[1] === 'ERROR' ? 'stderr' : 'stdout', text: pretty[2] };
  return { stream: 'stdout', text: line };
}

/** How a line of drover's own begins that tells of an event: a worker's has its `worker` there, or begins as its logger wrote it. */
const EVENT = /^\{"level":\d+,"time":\d+,"pid":\d+,"hostname":"[^"]*","env":"[^"]*","event":"/;

/** Whether a record has these members; a pattern stands for the texts that it fits. */
const hasMembers = (record, members) =>
  Object.entries(members).every(([name, wanted]) =>
    wanted instanceof RegExp ? wanted.test(record[name]) : isDeepStrictEqual(record[name], wanted),
  );

class Program {
  #child;
  #mark = randomUUID();
  #waiting = new Set();
  #silent = false;

  /** Both streams with the workers' lines as those wrote them. */
  #read = { stdout: '', stderr: '' };
  /** A line of standard output whose end has not come. */
  #begun = '';

  /** What drover's own lines have told of. */
  #events = [];

  /** Standard output as it came. */
  raw = '';
  /** Standard error as it came: the workers' is in `raw`, line by line. */
  rawErrors = '';
  /** Resolves to { code, signal } when the process has ended and what it had written has been read. */
  exit;

  constructor(command, args, { env, cwd, uid, gid }) {
    this.#child = spawn(command, args, {
      cwd,
      uid,
      gid,
      env: { ...process.env, NODE_ENV: 'production', NODE_TEST_CONTEXT: undefined, ...env, [MARK]: this.#mark },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    this.#child.stdout.setEncoding('utf8').on('data', (text) => this.#hear(text));
    this.#child.stderr.setEncoding('utf8').on('data', (text) => {
      this.#read.stderr += text;
      this.rawErrors += text;
      this.#look();
    });
    this.exit = new Promise((resolve, reject) => {
      this.#child.once('error', reject);
      // What it had written is read in the next turn of the loop.
      this.#child.once('exit', (code, signal) => setImmediate(setImmediate, resolve, { code, signal }));
    });
    // Whoever awaits `exit` hears of a program that could not be started; `until` hears of it here.
    this.exit.then(
      () => setTimeout(() => this.#end(), LAST_WORDS).unref(),
      () => this.#end(),
    );
    this.#child.once('close', () => this.#end());
  }

  get pid() {
    return this.#child.pid;
  }

  get isAlive() {
    return this.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get stdout() {
    // Half a line of JSON says nothing yet.
    return this.#read.stdout + (this.#begun.startsWith('{') ? '' : this.#begun);
  }

  get stderr() {
    return this.#read.stderr;
  }

  #hear(text) {
    this.raw += text;
    const lines = (this.#begun + text).split('\n');
    this.#begun = lines.pop();
    for (const line of lines) {
      if (EVENT.test(line)) this.#events.push(JSON.parse(line));
      const { stream, text: said } = written(line);
      this.#read[stream] += `${said}\n`;
    }
    this.#look();
  }

  get output() {
    return this.stdout + this.stderr;
  }

  #look() {
    for (const check of this.#waiting) check();
  }

  #end() {
    this.#silent = true;
    this.#look();
  }

  /** Resolves to the match once the output has it; rejects with the output when it ends or time is up before. */
  until(pattern, patience = PATIENCE) {
    return this.#await(() => this.#find((text) => text.match(pattern)), `${pattern}`, patience);
  }

  /**
   * Resolves to the matches once the output has so many. (One pattern that repeats itself would take time that doubles
   * with each match there is.)
   */
  untilMany(count, pattern, patience = PATIENCE) {
    const all = new RegExp(pattern, pattern.flags.includes('g') ? pattern.flags : `${pattern.flags}g`);
    const find = (text) => {
      const matches = [...text.matchAll(all)];
      return matches.length >= count ? matches : null;
    };
    return this.#await(() => this.#find(find), `${count} times ${pattern}`, patience);
  }

  #find(find) {
    return find(this.stdout) ?? find(this.stderr);
  }

  /** How many events the log has told of so far: what comes later is `since` that. */
  get mark() {
    return this.#events.length;
  }

  /**
   * Records of the log, in JSON, that tell of an event (without a name: of any), with these members; a pattern stands for
   * the texts that it fits, and `since` is a mark. Names and members are in docs/logging.md.
   */
  events(name, members = {}, { since = 0 } = {}) {
    const named = name === undefined ? members : { event: name, ...members };
    return this.#events.slice(since).filter((record) => hasMembers(record, named));
  }

  /** Records of the workers that ended although nobody had asked them to. */
  get deaths() {
    return this.events('worker:exit', { reason: /^(?:finished|failed|killed)$/ });
  }

  /** Resolves to the first such record, and rejects as `until` does. Options: since, patience. */
  async event(name, members = {}, options = {}) {
    const [record] = await this.eventMany(1, name, members, options);
    return record;
  }

  /** Resolves to the record that the slot's next worker is ready, after the one of this process. */
  async replacement(pid) {
    const { worker, generation } = await this.event('worker:ready', { workerPid: pid });
    return this.event('worker:ready', { worker, generation: generation + 1 });
  }

  /** Resolves to the records once the log has so many. */
  eventMany(count, name, members = {}, { since = 0, patience = PATIENCE } = {}) {
    const find = () => {
      const records = this.events(name, members, { since });
      return records.length >= count ? records : null;
    };
    const conditions = Object.entries(members).map(([member, wanted]) => `${member}: ${wanted}`);
    return this.#await(find, `${count} times ${[name, ...conditions].join(', ')}`, patience);
  }

  #await(find, what, patience) {
    return new Promise((resolve, reject) => {
      const settle = (act, value) => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        act(value);
      };
      const fail = (why) => settle(reject, new Error(`${why} without ${what}. Its output:\n${this.output}`));
      const check = () => {
        const found = find();
        if (found) settle(resolve, found);
        else if (this.#silent) fail('The program ended');
      };
      const timer = setTimeout(() => fail(`${patience} ms passed`), patience);
      this.#waiting.add(check);
      check();
    });
  }

  /** Sends a signal to this process alone. */
  signal(signal) {
    signalIfAlive(this.pid, signal);
  }

  /**
   * Stops this process and resolves when none of its threads runs any more: the signal is one thread's to handle, and the
   * others go on until that one has been scheduled.
   */
  async freeze() {
    this.signal('SIGSTOP');
    const tasks = `/proc/${this.pid}/task`;
    const state = (thread) => fs.readFileSync(`${tasks}/${thread}/stat`, 'latin1').match(/.*\) (\S)/)[1];
    while (!fs.readdirSync(tasks).every((thread) => state(thread) === 'T')) await wait(1);
  }

  /** Ids of the processes of this run that live, without the first one: workers and whatever they started. */
  others() {
    return processesMarked(this.#mark).filter((pid) => pid !== this.pid);
  }

  /** Ids of drover's workers among them. */
  workers() {
    return processesMarked(this.#mark, WORKERS);
  }

  /** Resolves when nothing of this run lives; rejects with what does after `patience` milliseconds. */
  async gone(patience = PATIENCE) {
    const left = await this.#left(patience);
    if (left.length > 0) throw new Error(`Still there: ${left.join(', ')}. Output:\n${this.output}`);
  }

  /** What still lives after `patience` milliseconds at most. */
  async #left(patience, also) {
    const deadline = performance.now() + patience;
    let left = processesMarked(this.#mark, also);
    while (left.length > 0 && performance.now() < deadline) {
      // The kernel tells nobody of a process that is not one's child.
      await wait(10);
      left = processesMarked(this.#mark, also);
    }
    return left;
  }

  /**
   * Ends the run: SIGTERM, after `patience` milliseconds SIGKILL, and SIGKILL for all that is left. Rejects when
   * workers have outlived their primary.
   */
  async stop(patience = 5000) {
    // Once it has been reaped its id may be another's.
    const signal = (name) => this.isAlive && this.signal(name);
    signal('SIGTERM');
    const timer = setTimeout(() => signal('SIGKILL'), patience);
    await this.exit.catch(() => undefined);
    clearTimeout(timer);
    const orphans = await this.#left(ORPHANS_TIME, WORKERS);
    for (const pid of processesMarked(this.#mark)) signalIfAlive(pid, 'SIGKILL');
    await this.gone();
    if (orphans.length > 0) throw new Error(`Workers without a primary: ${orphans.join(', ')}. Output:\n${this.output}`);
    return this.exit;
  }
}

/**
 * Starts `script`; it is stopped when the test `t` ends, however it ends.
 * Options: node (a binary), execArgv, args, env (undefined removes a variable), cwd, uid and gid.
 */
function run(t, script, { node = runtime, execArgv = [], args = [], env = {}, ...place } = {}) {
  const program = new Program(node, [...execArgv, script, ...args], { env, ...place });
  t.after(() => program.stop());
  return program;
}

module.exports = { run };
