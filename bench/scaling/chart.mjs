// A run of a trace as SVG: the load and the number of workers of each policy over time, and below them the seconds above
// the latency target.

const WIDTH = 900;
const LEFT = 44;
const RIGHT = 12;
const TOP = 46;
const PLOT = 240;
const STRIP = 12;

/** The policies in the order of the legend; the colours are told apart by the colour-blind too (Okabe and Ito). */
export const POLICIES = [
  { name: 'drover', label: 'drover', color: '#0072b2', width: 2.2 },
  { name: 'hpa', label: "Kubernetes' HPA", color: '#d55e00', width: 1.4 },
  { name: 'watt', label: 'Watt', color: '#009e73', width: 1.4 },
  { name: 'fixed', label: 'fixed', color: '#888888', width: 1.4 },
];

const fixed = (number) => String(Math.round(number * 10) / 10);

/** Steps from value to value, without a point where nothing changes. */
function steps(values, x, y) {
  let path = `M${fixed(x(0))} ${fixed(y(values[0]))}`;
  values.forEach((value, second) => {
    if (second > 0 && value !== values[second - 1]) path += `H${fixed(x(second))}V${fixed(y(value))}`;
  });
  return `${path}H${fixed(x(values.length))}`;
}

/** The load as an area; a point each five seconds. */
function area(values, x, y) {
  const points = values.filter((_, second) => second % 5 === 0).map((value, n) => `${fixed(x(n * 5))} ${fixed(y(value))}`);
  return `M${fixed(x(0))} ${fixed(y(0))}L${points.join('L')}L${fixed(x(values.length))} ${fixed(y(0))}Z`;
}

/** Runs of seconds for which `is` holds, as [first, length]. */
function stretches(values, is) {
  const found = [];
  values.forEach((value, second) => {
    if (!is(value)) return;
    const last = found.at(-1);
    if (last && last[0] + last[1] === second) last[1]++;
    else found.push([second, 1]);
  });
  return found;
}

export function chart(trace, targetMs) {
  const { demand, runs } = trace;
  const seconds = demand.length;
  const highest = Math.max(...POLICIES.flatMap(({ name }) => runs[name].sizes), ...demand);
  const unit = [2, 5, 10, 20, 50].find((each) => highest <= 8 * each) ?? 100;
  const top = Math.ceil((highest + 1) / unit) * unit;
  const x = (second) => LEFT + ((WIDTH - LEFT - RIGHT) * second) / seconds;
  const y = (workers) => TOP + PLOT - (PLOT * workers) / top;
  const height = TOP + PLOT + 30 + POLICIES.length * STRIP + 10;
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="12">`,
    `<title>Load and number of workers: ${trace.trace}</title>`,
    '<style>text{fill:#333}.ground{fill:#fff}.load{fill:#ddd}.axis{stroke:#ccc;stroke-width:.6}',
    '@media (prefers-color-scheme:dark){text{fill:#ccc}.ground{fill:#161b22}.load{fill:#333b45}.axis{stroke:#444}}</style>',
    `<rect class="ground" width="${WIDTH}" height="${height}"/>`,
    `<text x="${LEFT}" y="18" font-weight="600">${trace.trace.replace('_', ' ')}: workers</text>`,
  ];
  let at = LEFT;
  for (const { label, color } of [{ label: 'load (busy workers)', color: null }, ...POLICIES]) {
    lines.push(
      color
        ? `<rect x="${at}" y="27" width="14" height="4" fill="${color}"/>`
        : `<rect class="load" x="${at}" y="24" width="14" height="10"/>`,
      `<text x="${at + 19}" y="33">${label}</text>`,
    );
    at += 40 + label.length * 6.6;
  }
  lines.push(`<path class="load" d="${area(demand, x, y)}"/>`);
  for (let workers = 0; workers <= top; workers += unit) {
    lines.push(
      `<path class="axis" d="M${LEFT} ${fixed(y(workers))}H${WIDTH - RIGHT}"/>`,
      `<text x="${LEFT - 8}" y="${fixed(y(workers) + 4)}" text-anchor="end">${workers}</text>`,
    );
  }
  const every = seconds > 2000 ? 600 : 300;
  for (let second = 0; second <= seconds; second += every) {
    lines.push(`<text x="${fixed(x(second))}" y="${TOP + PLOT + 16}" text-anchor="middle">${second / 60} min</text>`);
  }
  for (const { name, color, width } of POLICIES.toReversed()) {
    const line = steps(runs[name].sizes, x, y);
    lines.push(`<path fill="none" stroke="${color}" stroke-width="${width}" d="${line}"/>`);
  }
  POLICIES.forEach(({ name, color }, n) => {
    const strip = TOP + PLOT + 26 + n * STRIP;
    lines.push(`<path class="axis" d="M${LEFT} ${strip + STRIP / 2}H${WIDTH - RIGHT}"/>`);
    for (const [first, length] of stretches(runs[name].p95, (p95) => p95 > targetMs)) {
      const width = Math.max(1, x(first + length) - x(first));
      lines.push(`<rect x="${fixed(x(first))}" y="${strip + 2}" width="${fixed(width)}" height="${STRIP - 4}" fill="${color}"/>`);
    }
  });
  lines.push(
    `<text x="${LEFT - 8}" y="${TOP + PLOT + 26 + 2 * STRIP + 4}" text-anchor="end" font-size="10">late</text>`,
    '</svg>',
  );
  return `${lines.join('\n')}\n`;
}
