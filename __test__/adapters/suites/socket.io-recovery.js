'use strict';

// The suite `socket.io`, with connection state recovery.

module.exports = { ...require('./socket.io'), env: { RECOVERY: '1' } };
