// npm run soak:stacks [-- --captures 1000 --nodes 20,22,24,26]
//
// A worker that is busy with loops, regular expressions, sorting, WebAssembly and code made at run time, whose program
// has replaced Error.prepareStackTrace and frozen the built-in objects, is asked for its stack again and again while the
// other worker answers requests, on each Node.js. Every stack must be whole, and the worker must come to the results
// that it comes to when nobody asks. The last line of standard output is JSON.

import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';

const require = createRequire(import.meta.url);
const { build } = require('../scripts/build.js');
const { MAJORS, findNode } = require('../__test__/helpers/nodes.js');
const { capture } = require('../__test__/helpers/stacks.js');

const { values } = parseArgs({
  options: {
    captures: { type: 'string', default: '1000' },
    nodes: { type: 'string', default: MAJORS.join() },
  },
});

/** A line of a stack that stands in the program itself. */
const OWN = /^ {4}at (?:.+ \()?.*interrupted-work\.js:\d+:\d+\)?$/;

const isWhole = (stack) => {
  const lines = stack.split('\n');
  return lines.every((line) => line.startsWith('    at ')) && lines.some((line) => OWN.test(line));
};

/** Runs `act` with what helpers of tests want: a place to say what is to be undone at the end. */
async function undone(act) {
  const undo = [];
  try {
    return await act({ after: (step) => undo.unshift(step) });
  } finally {
    for (const step of undo) await step();
  }
}

await build();
const captures = Number(values.captures);
const figures = {};
for (const major of values.nodes.split(',')) {
  const { version, path: node } = await findNode(Number(major));
  const begun = performance.now();
  const { stacks, told, answered } = await undone((t) => capture(t, { captures, node, workers: 2 }));
  const seconds = (performance.now() - begun) / 1000;
  const broken = stacks.filter((stack) => !isWhole(stack));
  const innermost = new Set(stacks.map((stack) => stack.split('\n')[0]));
  console.log(
    `Node ${version}: ${stacks.length} stacks in ${seconds.toFixed(1)} s, ${innermost.size} different places, ` +
      `${broken.length} not whole, ${told.prepared} calls of prepareStackTrace, ${answered} requests answered meanwhile`,
  );
  for (const stack of broken.slice(0, 3)) console.log(stack);
  if (broken.length > 0 || told.prepared > 0) process.exitCode = 1;
  figures[major] = { captures: stacks.length, broken: broken.length, places: innermost.size, answered };
}
console.log(JSON.stringify(figures));
