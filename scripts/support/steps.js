'use strict';

// Runs the steps of a check one after the other, all of them even if earlier ones fail, and prints a summary.

const { Trouble, bold, duration, green, headline, red, say, yellow } = require('./terminal');

const words = { passed: green('passed'), failed: red('FAILED'), skipped: yellow('SKIPPED') };

/** A step throws this if a prerequisite is not available; with CI=true that is a failure. */
class Skipped extends Error {}

async function outcome(step) {
  try {
    return (await step.run()) ? 'passed' : 'failed';
  } catch (error) {
    if (error instanceof Skipped) {
      say(yellow(`SKIPPED: ${error.message}`));
      return 'skipped';
    }
    say(red(error instanceof Trouble ? error.message : error.stack));
    return 'failed';
  }
}

function summary(results) {
  headline('summary');
  const width = Math.max(...results.map(({ name }) => name.length));
  for (const { name, result, time } of results) {
    say(`${name.padEnd(width)}  ${duration(time).padStart(9)}  ${words[result]}`);
  }
}

/** `steps` are { name, run }, where `run` resolves to whether it passed. Resolves to the exit code. */
async function runSteps(steps) {
  const results = [];
  for (const step of steps) {
    headline(step.name);
    const started = performance.now();
    const result = await outcome(step);
    const time = performance.now() - started;
    results.push({ name: step.name, result, time });
    say(`${bold(step.name)}: ${words[result]} in ${duration(time)}`);
  }
  summary(results);
  const count = (result) => results.filter((entry) => entry.result === result).length;
  const skipped = count('skipped');
  const failed = count('failed') + (process.env.CI === 'true' ? skipped : 0);
  if (skipped > 0) say(yellow(`${skipped} skipped: their reasons are above; with CI=true they are failures.`));
  say(`${count('passed')} passed, ${failed} failed`);
  return failed > 0 ? 1 : 0;
}

module.exports = { Skipped, runSteps };
