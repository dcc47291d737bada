'use strict';

// The options in types/*.d.ts: each member of ClusterConfig and of its nested interfaces, by path, with its
// @default tag.

const fs = require('node:fs');
const path = require('node:path');

const folder = path.join(__dirname, '..', '..', 'types');

/** Interfaces by name: members { name, type, comment, members }; an inline object type has members. */
function interfaces() {
  const found = new Map();
  for (const file of fs.readdirSync(folder)) {
    const open = [];
    let comment = '';
    let commenting = false;
    for (const line of fs.readFileSync(path.join(folder, file), 'utf8').split('\n')) {
      const text = line.trim();
      if (text.startsWith('/**')) {
        comment = '';
        commenting = true;
      }
      if (commenting) {
        comment += ` ${text.replace(/^\/?\*+|\*\/$/g, '').trim()}`;
        commenting = !text.endsWith('*/');
        continue;
      }
      const [, opened] = text.match(/^(?:export )?interface (\w+)[^{]*{$/) ?? [];
      const [, name, type] = text.match(/^(\w+)\??: (.*)$/) ?? [];
      if (opened) open.push(found.set(opened, []).get(opened));
      else if (/^}[;)]?/.test(text)) open.pop();
      else if (name && open.length > 0) {
        const member = { name, type: type.replace(/;$/, ''), comment: comment.trim(), members: [] };
        open.at(-1).push(member);
        if (type === '{') open.push(member.members);
      }
      comment = '';
    }
  }
  return found;
}

/** The members below an interface: a map from path to { comment, default }, without synonyms. */
function optionsOf(root) {
  const known = interfaces();
  const options = new Map();
  const walk = (members, prefix) => {
    for (const { name, type, comment, members: own } of members) {
      if (comment.startsWith('Synonym of')) continue;
      const [, tag] = comment.match(/@default (.*)$/) ?? [];
      const at = prefix + name;
      options.set(at, { comment, default: tag });
      const parts = type.split('|').map((part) => part.trim());
      const below = own.length > 0 ? own : parts.flatMap((part) => known.get(part) ?? []);
      walk(below, `${at}.`);
    }
  };
  walk(known.get(root), '');
  return options;
}

module.exports = { optionsOf };
