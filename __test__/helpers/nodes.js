'use strict';

// The Node.js binaries that drover is tested with, installed from npm into .cache/nodes.

const { execFile } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');

const run = promisify(execFile);
const cache = path.resolve(__dirname, '..', '..', '.cache', 'nodes');

/** The major versions that drover supports. */
const MAJORS = [20, 22, 24, 26];

const packageName = `node-${process.platform}-${process.arch}`;

function npm(args) {
  const cli = process.env.npm_execpath;
  return cli?.endsWith('.js') ? run(process.execPath, [cli, ...args]) : run('npm', args);
}

async function install(major) {
  const folder = path.join(cache, String(major));
  const binary = path.join(folder, 'node_modules', packageName, 'bin', 'node');
  if (!fs.existsSync(binary)) {
    fs.mkdirSync(folder, { recursive: true });
    await npm(['install', '--prefix', folder, '--no-save', '--no-audit', '--no-fund', `${packageName}@${major}`]);
  }
  return binary;
}

/** Resolves to { major, version, path } of the newest Node.js of a major version; installs it if it is missing. */
async function findNode(major) {
  const isThisOne = process.versions.node.startsWith(`${major}.`);
  const binary = isThisOne ? process.execPath : await install(major);
  const { stdout } = await run(binary, ['--version']);
  return { major, version: stdout.trim(), path: binary };
}

/**
 * Options of `run` for a program that needs a newer Node.js: the running one if it is new enough, else the newest of
 * `major`.
 */
const nodeWith = async (isHere, major) => (isHere ? {} : { node: (await findNode(major)).path });

module.exports = { MAJORS, findNode, nodeWith };
