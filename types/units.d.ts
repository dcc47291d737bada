// The units of the whole API.

/** Milliseconds, or a string with a unit: `'250ms'`, `'30s'`, `'5m'`, `'1h'`, `'7d'`. */
export type Duration = number | string;

/** Bytes, or a string with a 1024-based unit: `'512MB'`, `'1G'`. */
export type Size = number | string;

/** Milliseconds since 1970-01-01T00:00:00Z. */
export type Timestamp = number;
