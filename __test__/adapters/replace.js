'use strict';

// Gives the files of a package under test what drover has instead of them.

const Module = require('node:module');
const path = require('node:path');

const resolve = Module._resolveFilename;

/** Requests of the package's own name, and of files in it, lead to the folder. @param {string} name @param {string} folder */
function takePackageFrom(name, folder) {
  Module._resolveFilename = function (request, ...rest) {
    const isOwn = request === name || request.startsWith(`${name}/`);
    return resolve.call(this, isOwn ? path.join(folder, request.slice(name.length)) : request, ...rest);
  };
}

/** @param {string} file @param {unknown} exported */
function replace(file, exported) {
  const module = new Module(file);
  module.filename = file;
  module.loaded = true;
  module.exports = exported;
  require.cache[file] = module;
}

module.exports = { replace, takePackageFrom };
