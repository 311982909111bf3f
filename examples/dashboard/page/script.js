// Asks this page's own server for figures every second and draws them. Text from the database only ever becomes text.
'use strict';
const $ = (id) => document.getElementById(id);
const number = (n, digits = 0) => n == null ? '–' : Number(n).toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
const short = (n) => n == null ? '–' : Number(n).toLocaleString('en', { notation: n < 10000 ? 'standard' : 'compact', maximumFractionDigits: n < 100 ? 1 : n < 10000 ? 0 : 2 });
const seconds = (s) => s == null ? '–' : s < 1 ? Math.round(s * 1000) + ' ms' : s < 120 ? number(s, 1) + ' s' : Math.round(s / 60) + ' min';
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
const COLOURS = ['first', 'second', 'third', 'fourth'];
let span = '2';

function element(tag, text, kind) {
  const made = document.createElement(tag);
  if (text != null) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

// A chart of lines over time, one for each name. It is made anew when the names change, else only its data.
function chart(place, unit, first = 0) {
  let plot, drawn;
  const size = () => ({ width: place.clientWidth, height: place.clientHeight });
  const stroke = (i) => colour(COLOURS[(first + i) % 4]);
  const axis = () => ({ stroke: colour('soft'), grid: { stroke: colour('line'), width: 1 }, ticks: { show: false }, font: '12px system-ui, DejaVu Sans, sans-serif' });
  new ResizeObserver(() => plot && plot.setSize(size())).observe(place);
  return (names, data, from, to) => {
    const wanted = JSON.stringify([names, colour('ink')]);
    if (wanted !== drawn) {
      if (plot) plot.destroy();
      place.replaceChildren();
      plot = new uPlot({
        ...size(), cursor: { y: false }, padding: [8, 22, 0, 0],
        scales: { x: { time: true, auto: false, min: from, max: to }, y: { range: (u, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
        legend: { show: names.length > 1 },
        axes: [{ ...axis(), grid: { show: false }, space: 80, size: 26, values: [[60, '{HH}:{mm}'], [1, '{HH}:{mm}:{ss}']].map(([s, f]) => [s, f, null, null, null, null, null, null, 1]) },
          { ...axis(), size: 56, values: (u, ticks) => ticks.map(short) }],
        series: [{ label: 'at', value: '{HH}:{mm}:{ss}' }].concat(names.map((label, i) => ({
          label, stroke: stroke(i), width: 2, points: { show: false }, fill: names.length === 1 ? stroke(0) + '22' : undefined,
          value: (u, v) => v == null ? '–' : short(v) + unit,
        }))),
      }, data, place);
      drawn = wanted;
    } else plot.setData(data, false);
    plot.setScale('x', { min: from, max: to });
  };
}
const throughput = chart($('throughput'), ' rows/s'), lagging = chart($('lagging'), ' s'), rejecting = chart($('rejecting'), ' rejects/s', 3), behind = chart($('consumers'), ' chunks', 1);

// Points without a chunk are 0 rows, and no lag. The last one is still filling and left out.
function drawChunks(figures) {
  const { now, back, point } = figures.about, end = Math.floor(now / point) * point - point;
  const first = figures.throughput.length ? Math.min(...figures.throughput.map((p) => p.at)) : now;
  const start = Math.max(Math.ceil((now - back) / point) * point, Math.min(first, end - back / 6));
  const times = [];
  for (let at = Math.ceil(start / point) * point; at <= end; at += point) times.push(at);
  const names = figures.pipelines.map((p) => p.pipeline);
  const found = new Map(figures.throughput.map((p) => [p.pipeline + '\n' + p.at, p]));
  const of = (name, what, none) => times.map((at) => { const p = found.get(name + '\n' + at); return p ? p[what] : none; });
  throughput(names, [times, ...names.map((n) => of(n, 'rows', 0))], times[0], end);
  rejecting(names, [times, ...names.map((n) => of(n, 'rejects', 0))], times[0], end);
  const lags = names.map((n) => of(n, 'lag', undefined));
  lagging(names, [times, ...lags], times[0], end);
}

// How far consumers are behind is not kept by the database: what this page has seen of it.
const seen = [];
function drawConsumers(figures) {
  const { now, back } = figures.about;
  const names = figures.consumers.map((c) => c.stream + ' / ' + c.consumer);
  seen.push({ at: now, lag: new Map(figures.consumers.map((c, i) => [names[i], c.lag_chunks])) });
  while (seen.length > 3700) seen.shift();
  const shown = seen.filter((s) => s.at > now - back);
  behind(names, [shown.map((s) => s.at), ...names.map((n) => shown.map((s) => s.lag.get(n)))], Math.min(shown[0].at, now - 20), now);
  table($('cursors'), [['consumer'], ['state'], ['acked', 1], ['rows behind', 1], ['dead', 1]],
    figures.consumers.map((c) => [c.consumer, c.state, number(c.acked_through), number(c.lag_rows), number(c.dead)]));
}

function table(place, heads, rows) {
  const line = (tag, cells) => {
    const tr = element('tr');
    cells.forEach((text, i) => tr.append(element(tag, text, heads[i][1] ? 'number' : '')));
    return tr;
  };
  place.replaceChildren(line('th', heads.map((h) => h[0])), ...rows.map((r) => line('td', r)));
}

function bars(place, answer, label, size, text) {
  if (answer.error) return place.replaceChildren(element('li', answer.error + ' (see grants.sql)', 'note'));
  if (!answer.length) return place.replaceChildren(element('li', 'none', 'note'));
  const most = Math.max(...answer.map((r) => r[size]));
  answer.forEach((row, i) => {
    const figures = text(row);
    const li = place.children[i]?.children.length === 2 + figures.length ? place.children[i] : element('li');
    if (!li.children.length) {
      li.append(element('i'), element('span'), ...figures.map(() => element('span')));
      if (place.children[i]) place.children[i].replaceWith(li); else place.append(li);
    }
    li.children[0].style.width = 100 * row[size] / most + '%';
    li.children[1].textContent = li.children[1].title = row[label];
    figures.forEach((figure, n) => { li.children[2 + n].textContent = figure; });
  });
  while (place.children.length > answer.length) place.lastChild.remove();
}

function show(figures) {
  const p = figures.pipelines, sum = (what) => p.reduce((all, x) => all + (x[what] || 0), 0);
  $('about').textContent = `database ${figures.about.database}, as ${figures.about.role}, ${new Date(figures.about.now * 1000).toLocaleTimeString('en-GB')}`;
  $('rows').textContent = number(sum('rows'));
  $('chunks').textContent = number(sum('chunks')) + ' chunks';
  $('speed').textContent = number(sum('rows_per_second'));
  $('lag').textContent = seconds(p.length ? Math.max(...p.map((x) => x.lag_seconds ?? 0)) : null);
  $('lags').textContent = p.length ? `p50 ${seconds(Math.max(...p.map((x) => x.p50_ms)) / 1000)}, p99 ${seconds(Math.max(...p.map((x) => x.p99_ms)) / 1000)}` : '';
  const rejected = sum('rejects'), all = rejected + sum('rows');
  $('rejected').textContent = number(rejected);
  $('share').textContent = all ? number(100 * rejected / all, 2) + ' % of what landed' : '';
  $('behind').textContent = number(figures.consumers.filter((c) => c.lag_chunks > 0).length) + ' of ' + number(figures.consumers.length);
  $('unacked').textContent = 'chunks to ack: ' + number(figures.consumers.reduce((n, c) => n + c.lag_chunks, 0));
  drawChunks(figures);
  drawConsumers(figures);
  bars($('merchants'), figures.merchants, 'merchant', 'transactions', (r) => [number(r.transactions), number(r.avg_amount, 2)]);
  bars($('rejects'), figures.rejects, 'reason', 'records', (r) => [number(r.records)]);
  table($('pipelines'), [['pipeline'], ['phase'], ['chunk', 1], ['files to do', 1], ['bytes to do', 1], ['done in', 1], ['failures', 1], ['trouble']],
    p.map((x) => [x.pipeline, x.phase, x.percent == null ? '–' : number(x.percent) + ' %', number(x.backlog_files), short(x.backlog_bytes), (x.eta || '–').split('.')[0],
      number(x.failures), x.trouble || '']));
}

function trouble(text) {
  $('trouble').hidden = !text;
  $('trouble').textContent = text;
}

async function ask() {
  try {
    const answer = await fetch('figures?span=' + span);
    if (!answer.ok) throw new Error(await answer.text());
    const figures = await answer.json();
    const failed = ['pipelines', 'throughput', 'consumers'].find((part) => figures[part].error);
    if (failed) throw new Error(failed + ': ' + figures[failed].error);
    show(figures);
    trouble('');
  } catch (error) {
    trouble('No figures: ' + error.message);
  }
}
async function live() {
  if (!document.hidden) await ask();
  setTimeout(live, 1000);
}
$('spans').addEventListener('click', (event) => {
  if (!event.target.dataset.span) return;
  span = event.target.dataset.span;
  for (const button of $('spans').children) button.classList.toggle('chosen', button === event.target);
  ask();
});
live();
