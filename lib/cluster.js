// @ts-check
'use strict';

// `drover/cluster`: the same exports as `drover`.

module.exports = require('../index.js');
