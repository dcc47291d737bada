// Numbers and times as readable text.

const NONE = '–';
const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);
const plain = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

/** At most two significant digits below 10, else a whole number: 0.42, 4.2, 42, 4,200. */
function short(value) {
  if (value !== 0 && Math.abs(value) < 1) return value.toFixed(2);
  return Math.abs(value) < 10 && !Number.isInteger(value) ? value.toFixed(1) : plain.format(value);
}

const STEPS = ['B', 'kB', 'MB', 'GB', 'TB'];

/** Each returns [value, unit]. */
export const kinds = {
  count: (value) => [isNumber(value) ? plain.format(value) : NONE, ''],
  rate: (value) => [isNumber(value) ? short(value) : NONE, '/s'],
  percent: (value) => [isNumber(value) ? short(value) : NONE, '%'],
  part: (value) => [isNumber(value) ? short(value * 100) : NONE, '%'],
  ms: (value) => {
    if (!isNumber(value)) return [NONE, 'ms'];
    return value >= 10_000 ? [short(value / 1000), 's'] : [short(value), 'ms'];
  },
  bytes: (value) => {
    if (!isNumber(value)) return [NONE, 'MB'];
    const step = value < 1000 ? 0 : Math.min(STEPS.length - 1, Math.floor(Math.log10(value) / 3));
    return [short(value / 1000 ** step), STEPS[step]];
  },
};

/** A value with its unit. `kind`: a name in `kinds`. */
export function text(kind, value) {
  const [figure, unit] = kinds[kind](value);
  return unit === '' || figure === NONE ? figure : `${figure}${unit.startsWith('/') ? '' : '\u202f'}${unit}`;
}

/** Milliseconds in their two largest units. */
export function duration(ms) {
  if (!isNumber(ms)) return NONE;
  const seconds = Math.floor(ms / 1000);
  const [days, hours, minutes] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days > 0) return `${days}\u202fd ${hours}\u202fh`;
  if (hours > 0) return `${hours}\u202fh ${minutes}\u202fmin`;
  return minutes > 0 ? `${minutes}\u202fmin ${seconds % 60}\u202fs` : `${seconds}\u202fs`;
}

const two = (number) => String(number).padStart(2, '0');

/** The local time of day. `moment`: milliseconds since 1970 or a string that Date parses. */
export function clock(moment, seconds = true) {
  const date = new Date(moment);
  if (Number.isNaN(date.getTime())) return NONE;
  return `${two(date.getHours())}:${two(date.getMinutes())}${seconds ? `:${two(date.getSeconds())}` : ''}`;
}

/** A count with its noun. */
export const many = (count, noun) => `${plain.format(count)} ${noun}${count === 1 ? '' : 's'}`;
