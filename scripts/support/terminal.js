'use strict';

// Terminal output of the scripts. Colour only on a terminal.

const colour = process.stdout.isTTY && !process.env.NO_COLOR;

const paint = (code, text) => (colour ? `\x1b[${code}m${text}\x1b[0m` : text);
const bold = (text) => paint('1', text);
const green = (text) => paint('32', text);
const yellow = (text) => paint('33', text);
const red = (text) => paint('31', text);

function say(line = '') {
  process.stdout.write(`${line}\n`);
}

/** Prints a headline that separates a step's output from that of the previous one. */
function headline(text) {
  say();
  say(bold(`== ${text}`));
}

/** Milliseconds, formatted for people. */
function duration(milliseconds) {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/** An error whose message tells the user what to do; it is printed without a stack. */
class Trouble extends Error {}

/** Runs a script's main function; prints its error and sets the exit code. */
async function main(run) {
  try {
    process.exitCode = await run();
  } catch (error) {
    process.stderr.write(`\n${red(error instanceof Trouble ? error.message : error.stack)}\n`);
    process.exitCode = 1;
  }
}

module.exports = { Trouble, bold, duration, green, headline, main, red, say, yellow };
