'use strict';

// Where a cluster's monitoring API is, as the log tells it.

/** Resolves to { url, socket }; either is null where there is none. */
const places = (cluster) => cluster.event('monitoring:listening');

/** Resolves to its URL, such as http://127.0.0.1:3003. */
const monitoringUrl = async (cluster) => (await places(cluster)).url;

/** Resolves to its port, a number. */
const monitoringPort = async (cluster) => Number(new URL(await monitoringUrl(cluster)).port);

module.exports = { monitoringPlaces: places, monitoringPort, monitoringUrl };
