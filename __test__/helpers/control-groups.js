'use strict';

// Control groups that tests make, where the machine allows it: version 1 or 2.

const fs = require('node:fs');
const path = require('node:path');
const { setTimeout: wait } = require('node:timers/promises');
const { runtime } = require('./runtime');

/** Milliseconds in which the processes of a group have ended once they are killed. */
const EMPTY_MS = 10_000;

/** Where a controller is mounted, and its version; or undefined. */
function mountOf(controller) {
  const lines = fs.readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  for (const line of lines) {
    const [mount, filesystem] = line.split(' - ');
    const [kind, , options] = (filesystem ?? '').split(' ');
    const root = mount.split(' ')[4];
    if (kind === 'cgroup' && options.split(',').includes(controller)) return { root, version: 1 };
    if (kind !== 'cgroup2') continue;
    const controllers = fs.readFileSync(path.join(root, 'cgroup.controllers'), 'utf8').split(/\s/);
    if (controllers.includes(controller)) return { root, version: 2 };
  }
  return undefined;
}

/** What a limit is written to, by version. */
const FILES = {
  cpu: {
    1: (cpus) =>
      cpus === Infinity ? { 'cpu.shares': '4096' } : { 'cpu.cfs_period_us': '100000', 'cpu.cfs_quota_us': `${cpus * 100_000}` },
    2: (cpus) => (cpus === Infinity ? { 'cpu.weight': '400' } : { 'cpu.max': `${cpus * 100_000} 100000` }),
  },
  memory: {
    1: (bytes) => ({ 'memory.limit_in_bytes': `${bytes}` }),
    2: (bytes) => ({ 'memory.swap.max': '0', 'memory.max': `${bytes}` }),
  },
  pids: {
    1: (most) => ({ 'pids.max': `${most}` }),
    2: (most) => ({ 'pids.max': `${most}` }),
  },
};

/** What is done to a group that may end meanwhile. */
function unlessGone(act) {
  try {
    act();
  } catch (error) {
    if (!['ENOENT', 'ENODEV', 'ESRCH'].includes(error.code)) throw error;
  }
}

/** Ends what is left in a group and its leaves, which are this test's alone, and removes them. */
async function remove(folder) {
  for (const until = Date.now() + EMPTY_MS; ; await wait(20)) {
    const entries = fs.readdirSync(folder, { withFileTypes: true });
    const leaves = entries.filter((entry) => entry.isDirectory()).map(({ name }) => path.join(folder, name));
    const groups = [...leaves, folder];
    const pids = (group) => fs.readFileSync(path.join(group, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
    const end = (pid) => unlessGone(() => process.kill(pid, 'SIGKILL'));
    for (const group of groups) unlessGone(() => pids(group).forEach(end));
    try {
      for (const group of groups) unlessGone(() => fs.rmdirSync(group));
      return;
    } catch (error) {
      // Its last processes are being reaped.
      if (error.code !== 'EBUSY' || Date.now() > until) throw error;
    }
  }
}

/**
 * Makes a control group with a limit, { cpu: CPUs }, { memory: bytes } or { pids: processes }, and returns options of `run`
 * for a program in it, and its folder. { cpu: Infinity }: no limit, and four times the share of a process. It is removed
 * when the test `t` ends. Throws where this process may not.
 */
function controlGroup(t, limits) {
  const folders = Object.entries(limits).map(([controller, value]) => {
    const mount = mountOf(controller);
    if (mount === undefined) throw new Error(`no control groups for ${controller}`);
    const folder = path.join(mount.root, `test-${process.pid}-${Math.random().toString(36).slice(2)}`);
    if (mount.version === 2) fs.writeFileSync(path.join(mount.root, 'cgroup.subtree_control'), `+${controller}`);
    fs.mkdirSync(folder);
    t.after(() => remove(folder));
    for (const [file, text] of Object.entries(FILES[controller][mount.version](value))) {
      const target = path.join(folder, file);
      if (fs.existsSync(target)) fs.writeFileSync(target, text);
    }
    return folder;
  });
  const join = folders.map((folder) => `echo $$ > ${folder}/cgroup.procs`).join(' && ');
  return { folders, options: { node: 'sh', execArgv: ['-c', `${join} && exec "$0" "$@"`, runtime] } };
}

module.exports = { controlGroup };
