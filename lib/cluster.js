// @ts-check
'use strict';

// `drover/cluster`: the same as `drover`.

module.exports = require('../index.js');
