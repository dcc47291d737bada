'use strict';

// The address of a cluster's monitoring API, from the log.

/** Resolves to { url, socket }; each is null if there is none. */
const places = (cluster) => cluster.event('monitoring:listening');

/** Resolves to the URL, such as http://127.0.0.1:3003. */
const monitoringUrl = async (cluster) => (await places(cluster)).url;

/** Resolves to the port, a number. */
const monitoringPort = async (cluster) => Number(new URL(await monitoringUrl(cluster)).port);

module.exports = { monitoringPlaces: places, monitoringPort, monitoringUrl };
