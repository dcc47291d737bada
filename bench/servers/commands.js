'use strict';

// How a server's first process takes commands from a benchmark: a line of JSON on standard input is a command, {"id":
// 1, "do": "scale", "to": 3}, and its reply is a line on standard output, {"reply": 1, "value": ...} or {"reply": 1,
// "error": {code, message}}. Standard output may have other lines too.

const readline = require('node:readline');

/** `actions` are async functions by name; each gets the command. */
function takeCommands(actions) {
  const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
  readline.createInterface({ input: process.stdin }).on('line', async (line) => {
    const command = JSON.parse(line);
    try {
      say({ reply: command.id, value: (await actions[command.do](command)) ?? null });
    } catch (error) {
      say({ reply: command.id, error: { code: error.code ?? error.name, message: error.message } });
    }
  });
}

/** The same action, started only when all earlier ones are done: for peers without a queue. */
let last = Promise.resolve();
const inTurn = (action) => (command) => {
  last = last.catch(() => undefined).then(() => action(command));
  return last;
};

module.exports = { inTurn, takeCommands };
