// The charts show the API's history and append each new sample. A caption has the latest values, or the values under
// the pointer; the `aria-label` describes the chart for screen readers.

import { get } from './api.js';
import { byId, make, say } from './dom.js';
import { clock, duration, kinds, text } from './format.js';

const CHARTS = [
  { title: 'Requests', kind: 'rate', series: [['requestsPerSecond', '']] },
  { title: 'Response time', kind: 'ms', series: [['p50', 'p50'], ['p90', 'p90'], ['p99', 'p99']] },
  { title: 'CPU', kind: 'percent', series: [['cpuUsage', '']], least: 20 },
  { title: 'Memory', kind: 'bytes', series: [['memoryUsage', '']] },
  { title: 'Event-loop delay', kind: 'ms', series: [['eventLoopLag', '']] },
  { title: 'Connections', kind: 'count', series: [['activeConnections', 'open'], ['queueLength', 'waiting']] },
];
const METRICS = [...new Set(CHARTS.flatMap(({ series }) => series.map(([metric]) => metric)))];

/** The approximate number of points in a chart: more points than pixels would not be visible. */
const POINTS = 600;
const HEIGHT = 150;
/** Tick distances of an axis of whole numbers. */
const WHOLE = [1, 2, 5].flatMap((first) => [1, 10, 100, 1e3, 1e4, 1e5, 1e6].map((power) => first * power)).sort((a, b) => a - b);

const colour = (element) => getComputedStyle(element).color;

export class Charts {
  #views = [];
  #seconds = 600;
  #asked = 0;
  /** Milliseconds by which this browser's clock is ahead of the cluster's clock. */
  #ahead = 0;
  /** Times in seconds, and a column of values for each metric. */
  #times = [];
  #columns = new Map(METRICS.map((metric) => [metric, []]));
  /** Changes of the number of workers, the oldest first. */
  #changes = [];

  constructor(into) {
    this.into = into;
    for (const chart of CHARTS) this.#views.push(this.#view(chart));
    new ResizeObserver(() => this.#fit()).observe(into);
  }

  #view(chart) {
    const readings = chart.series.map(([, label], at) => {
      const value = make('b');
      const reading = make('span', { class: 'reading' }, make('span', { class: `swatch series-${at + 1}` }), label, value);
      return { reading, value };
    });
    const none = make('p', { class: 'none' }, 'No data yet');
    const plot = make('div', { class: 'plot', role: 'img' }, none);
    const caption = make('figcaption', {}, make('span', { class: 'name' }, chart.title), ...readings.map(({ reading }) => reading));
    const probes = ['axis-text', 'axis-line'].map((name) => make('span', { class: name, hidden: true }));
    this.into.append(make('figure', { class: 'chart' }, caption, plot, ...probes));
    return { chart, readings, none, plot, probes, drawn: null };
  }

  /** `now`: the cluster's time, in milliseconds since 1970. */
  setClock(now) {
    this.#ahead = Date.now() - now;
  }

  /** Loads and shows the last `seconds`; 0: the whole history. */
  async load(seconds) {
    this.#seconds = seconds;
    this.#asked += 1;
    const asked = this.#asked;
    // The start of the range, by the cluster's clock.
    const from = seconds === 0 ? 0 : Date.now() - this.#ahead - seconds * 1000;
    let step = 0;
    if (seconds === 0) {
      const { points } = await get(`/cluster/history?metric=${METRICS[0]}&from=0&step=60000`);
      seconds = points.length * 60;
    }
    if (seconds > POINTS) step = Math.ceil(seconds / POINTS) * 1000;
    const all = await Promise.all(METRICS.map((metric) => get(`/cluster/history?metric=${metric}&from=${from}&step=${step}`)));
    // Another range was chosen in the meantime.
    if (asked !== this.#asked) return;
    const times = all[0].points.map(([at]) => at);
    this.#times = times.map((at) => at / 1000);
    all.forEach(({ metric, points }) => {
      const known = new Map(points);
      this.#columns.set(metric, times.map((at) => known.get(at) ?? null));
    });
    this.#draw();
  }

  /** Appends the current metrics of the cluster. */
  add(metrics) {
    const at = metrics.timestamp / 1000;
    if (at <= (this.#times.at(-1) ?? 0)) return;
    this.#times.push(at);
    for (const [metric, column] of this.#columns) column.push(metrics[metric] ?? null);
    const begin = this.#seconds === 0 ? 0 : at - this.#seconds;
    const old = this.#times.findIndex((time) => time >= begin);
    if (old > 0) for (const column of [this.#times, ...this.#columns.values()]) column.splice(0, old);
    this.#draw();
  }

  /** Marks changes of the number of workers. */
  mark(decisions = []) {
    const changes = decisions.filter(({ from, to }) => from !== to);
    if (changes.at(-1)?.timestamp === this.#changes.at(-1)?.timestamp) return;
    this.#changes = changes;
    this.#draw();
  }

  /** Draws again after a change of colours. */
  repaint() {
    for (const view of this.#views) {
      view.drawn?.destroy();
      view.drawn = null;
    }
    this.#draw();
  }

  #fit() {
    for (const { drawn, plot } of this.#views) if (drawn && plot.clientWidth > 0) drawn.setSize({ width: plot.clientWidth, height: HEIGHT });
  }

  #draw() {
    for (const view of this.#views) {
      const data = [this.#times, ...view.chart.series.map(([metric]) => this.#columns.get(metric))];
      view.none.hidden = this.#times.length > 1;
      if (view.drawn === null) view.drawn = new window.uPlot(this.#options(view), data, view.plot);
      else view.drawn.setData(data);
      if (view.drawn.cursor.idx === null || view.drawn.cursor.idx === undefined) read(view, data, null);
      describe(view, data, this.#changes);
    }
  }

  #options(view) {
    const { chart, readings, plot, probes } = view;
    const [muted, line] = probes.map((probe) => colour(probe));
    const axis = { stroke: muted, font: '11px system-ui, sans-serif', grid: { stroke: line, width: 1 }, ticks: { show: false } };
    const unit = (value) => text(chart.kind, value);
    return {
      width: Math.max(200, plot.clientWidth),
      height: HEIGHT,
      padding: [8, 6, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, sync: { key: 'drover' }, points: { size: 6 } },
      scales: { y: { range: (_, __, most) => [0, Math.max(most * 1.1, chart.least ?? 0, chart.kind === 'bytes' ? 1e6 : 1)] } },
      axes: [
        { ...axis, size: 24, gap: 4, space: 70, values: (_, ticks) => ticks.map((at) => clock(at * 1000, at % 60 !== 0)) },
        { ...axis, incrs: chart.kind === 'count' ? WHOLE : undefined, size: 58, gap: 6, space: 34, values: (_, ticks) => ticks.map(unit) },
      ],
      series: [
        {},
        ...readings.map(({ reading }, at) => {
          const stroke = colour(reading.querySelector('.swatch'));
          const fill = readings.length === 1 ? stroke.replace('rgb(', 'rgba(').replace(')', ', 0.13)') : undefined;
          return { stroke, fill, width: 1.6, points: { show: false }, label: chart.series[at][1] };
        }),
      ],
      hooks: {
        setCursor: [(drawn) => read(view, drawn.data, drawn.cursor.idx ?? null)],
        draw: [(drawn) => mark(drawn, this.#changes, muted)],
      },
    };
  }
}

/** Draws a line at each change of the number of workers, with the number after it. */
function mark({ ctx, bbox, scales, valToPos }, changes, stroke) {
  const ratio = window.devicePixelRatio || 1;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = stroke;
  ctx.lineWidth = ratio;
  ctx.setLineDash([3 * ratio, 3 * ratio]);
  ctx.font = `${10 * ratio}px system-ui, sans-serif`;
  let free = -Infinity;
  for (const { timestamp, from, to } of changes) {
    const at = timestamp / 1000;
    if (at < scales.x.min || at > scales.x.max) continue;
    const x = valToPos(at, 'x', true);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    const label = `${to > from ? '▲' : '▼'}${to}`;
    if (x > free) {
      ctx.fillText(label, x + 2 * ratio, bbox.top + 9 * ratio);
      free = x + ctx.measureText(label).width + 6 * ratio;
    }
  }
  ctx.restore();
}

/** Writes the values at an index beside the chart's name; null: the latest values. */
function read({ chart, readings }, [times, ...columns], index) {
  const at = index ?? times.length - 1;
  say(byId('charts-time'), index === null || times[at] === undefined ? '' : `at ${clock(times[at] * 1000)}`);
  columns.forEach((column, series) => say(readings[series].value, text(chart.kind, column[at])));
}

function describe({ chart, plot }, [times, ...columns], changes) {
  const marked = changes.filter(({ timestamp }) => timestamp / 1000 >= times[0]).length;
  const span = times.length > 1 ? duration((times.at(-1) - times[0]) * 1000) : '';
  const told = columns.map((column, at) => {
    const values = column.filter((value) => value !== null);
    const label = chart.series[at][1];
    if (values.length === 0) return `${label} no data yet`.trim();
    const [low, high] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
    const figure = (value) => kinds[chart.kind](value).join(' ').trim();
    return `${label} now ${figure(values.at(-1))}, lowest ${figure(low)}, highest ${figure(high)}`.trim();
  });
  plot.setAttribute('aria-label', `${chart.title}${span === '' ? '' : ` over ${span}`}: ${told.join('; ')}${marked > 0 ? `; ${marked} ${marked === 1 ? 'change' : 'changes'} of the number of workers` : ''}`);
}
