/** Draws the board: asks the plugin's own routes for JSON and turns it into plain SVG. No library. */

/** Works at /plugins/board, /plugins/board/ and /plugins/board/static/index.html alike. */
const base = location.pathname.replace(/\/(static\/.*|index\.html)?$/, "");
const REFRESH_MS = 10_000;
const WIDTH = 1000;
/** Room for the scale on the left and the dates below. */
const PAD = { left: 42, right: 8, top: 22, bottom: 20 };

const state = { city: "", days: 365, hours: 1 };
const byId = (id) => document.getElementById(id);
const tempOf = (value) => (value === null ? "–" : `${Number(value).toFixed(1)} °C`);
const wholeOf = (value) => Number(value).toLocaleString("en");

/** JSON of a route, or an Error that says what the plugin said. */
async function ask(path, params = {}) {
  const query = new URLSearchParams(params).toString();
  const response = await fetch(`${base}/api/${path}${query ? `?${query}` : ""}`, {
    headers: { accept: "application/json" },
  });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error?.message ?? body.message ?? `the board answered ${response.status}`);
  return body;
}

/** An element; text goes in as text, so stored names cannot become markup. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function draw(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function empty(title, hint) {
  return make("div", { class: "empty" }, make("strong", {}, title), hint);
}

/** Round steps that cover [low, high] with about `count` lines. */
function ticks(low, high, count) {
  const rough = (high - low || 1) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const lines = [];
  for (let value = Math.floor(low / step) * step; value < high + step; value += step) lines.push(value);
  return lines;
}

/** A frame with a scale of round numbers: the svg, and where values lie on it. */
function frame(title, height, low, high, label) {
  const lines = ticks(low, high, 4);
  const [bottom, top] = [lines[0], lines.at(-1)];
  const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label });
  const y = (value) => PAD.top + ((top - value) / (top - bottom)) * (height - PAD.top - PAD.bottom);
  for (const value of lines) {
    const at = y(value);
    svg.append(
      draw("line", { class: value === 0 ? "zero" : "grid", x1: PAD.left, x2: WIDTH - PAD.right, y1: at, y2: at }),
    );
    svg.append(
      draw("text", { x: PAD.left - 6, y: at + 4, "text-anchor": "end" }, String(Number(value.toPrecision(6)))),
    );
  }
  svg.append(draw("text", { class: "title", x: PAD.left, y: 12 }, title));
  return { svg, y, height };
}

const across = (position, count) => PAD.left + ((position + 0.5) / Math.max(count, 1)) * (WIDTH - PAD.left - PAD.right);

/** A path through points; a missing value lifts the pen. */
function line(values, y) {
  let down = false;
  const steps = values.map((value, i) => {
    if (value === null) {
      down = false;
      return "";
    }
    const step = `${down ? "L" : "M"}${across(i, values.length).toFixed(1)} ${y(value).toFixed(1)}`;
    down = true;
    return step;
  });
  return steps.join("");
}

function dates(chart, days) {
  const every = Math.ceil(days.length / 8);
  for (let i = 0; i < days.length; i += every) {
    const at = { x: across(i, days.length), y: chart.height - 5, "text-anchor": "middle" };
    chart.svg.append(draw("text", at, days.length > 200 ? days[i].day.slice(0, 7) : days[i].day.slice(5)));
  }
}

function temperatures(days) {
  const known = days.filter((day) => day.temp_max !== null && day.temp_min !== null);
  const low = Math.min(...known.map((day) => day.temp_min));
  const high = Math.max(...known.map((day) => day.temp_max));
  const chart = frame("Temperature, °C: highest and lowest of the day", 300, low, high, "Temperature by day");
  const place = new Map(days.map((day, i) => [day, across(i, days.length).toFixed(1)]));
  const edge = (key) => known.map((day) => `${place.get(day)} ${chart.y(day[key]).toFixed(1)}`);
  const outline = [...edge("temp_max"), ...edge("temp_min").reverse()].join("L");
  if (known.length) chart.svg.append(draw("path", { class: "band", d: `M${outline}Z` }));
  chart.svg.append(
    draw("path", {
      class: "max",
      d: line(
        days.map((day) => day.temp_max),
        chart.y,
      ),
    }),
  );
  chart.svg.append(
    draw("path", {
      class: "min",
      d: line(
        days.map((day) => day.temp_min),
        chart.y,
      ),
    }),
  );
  dates(chart, days);
  return chart.svg;
}

function rain(days) {
  const most = Math.max(1, ...days.map((day) => day.precipitation ?? 0));
  const chart = frame("Precipitation, mm", 150, 0, most, "Precipitation by day");
  const width = Math.max(0.6, ((WIDTH - PAD.left - PAD.right) / days.length) * 0.8);
  days.forEach((day, i) => {
    if (!day.precipitation) return;
    const top = chart.y(day.precipitation);
    const place = { x: across(i, days.length) - width / 2, y: top, width, height: chart.y(0) - top };
    chart.svg.append(draw("rect", { class: "rain", ...place }));
  });
  dates(chart, days);
  return chart.svg;
}

/** Moves a line under the pointer and says what lies there. */
function pointed(charts, days, readout) {
  const sky = { 0: "sun", 45: "fog", 51: "drizzle", 61: "rain", 71: "snow" };
  const rest = `${wholeOf(days.length)} days, ${days[0].day} to ${days.at(-1).day}. Point at a day to read it.`;
  readout.textContent = rest;
  const cursors = charts.map((svg) => {
    const height = svg.viewBox.baseVal.height;
    const cursor = draw("line", { class: "cursor", y1: PAD.top, y2: height - PAD.bottom, visibility: "hidden" });
    svg.append(cursor);
    return cursor;
  });
  for (const svg of charts) {
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * WIDTH;
      const i = Math.floor(((x - PAD.left) / (WIDTH - PAD.left - PAD.right)) * days.length);
      const day = days[Math.min(days.length - 1, Math.max(0, i))];
      const at = across(days.indexOf(day), days.length);
      for (const cursor of cursors) {
        for (const [key, value] of [
          ["x1", at],
          ["x2", at],
          ["visibility", "visible"],
        ])
          cursor.setAttribute(key, value);
      }
      const word = sky[day.weather_code] ?? (day.weather_code === null ? "" : `WMO ${day.weather_code}`);
      const span = `${tempOf(day.temp_min)} to ${tempOf(day.temp_max)}`;
      readout.textContent = `${day.day}: ${span}, ${day.precipitation ?? "–"} mm, ${word}`;
    });
    svg.addEventListener("pointerleave", () => {
      for (const cursor of cursors) cursor.setAttribute("visibility", "hidden");
      readout.textContent = rest;
    });
  }
}

/** Numbers may come as text where 64 bits need it. */
const numbered = (row, keys) =>
  Object.fromEntries(
    Object.entries(row).map(([key, value]) => [key, keys.includes(key) && value !== null ? Number(value) : value]),
  );

async function showWeather() {
  const place = byId("weather");
  const say = (title, hint) => place.replaceChildren(empty(title, hint));
  if (!state.city) return say("No weather yet", "It appears when the weather pipe has stored its first window.");
  const body = await ask("weather", { city: state.city, days: state.days });
  const keys = ["temp_max", "temp_min", "precipitation", "wind_max", "weather_code"];
  const days = body.days.map((day) => numbered(day, keys));
  if (!days.length) return say(`Nothing of ${state.city} yet`, "Its first window has not been stored.");
  const charts = [temperatures(days), rain(days)];
  const readout = make("div", { class: "readout" });
  pointed(charts, days, readout);
  return place.replaceChildren(...charts, readout);
}

/** One cell a step: green up, red down, grey not measured; latency as a line above. */
function strip(measured, hours, stepS) {
  const last = Math.floor(Date.now() / 1000 / stepS) * stepS;
  const count = Math.round((hours * 3600) / stepS);
  const known = new Map(measured.map((point) => [Number(point.at_s), point]));
  const cells = Array.from({ length: count }, (_, i) => known.get(last - (count - 1 - i) * stepS));
  const latencies = cells.map((cell) =>
    cell && Number.isFinite(Number(cell.latency_ms ?? Number.NaN)) ? Number(cell.latency_ms) : null,
  );
  const highest = Math.max(1, ...latencies.filter((value) => value !== null));
  const svg = draw("svg", {
    viewBox: `0 0 ${WIDTH} 64`,
    role: "img",
    "aria-label": `Latency and state, last ${hours} h`,
  });
  const width = WIDTH / count;
  cells.forEach((cell, i) => {
    const kind = !cell ? "none-cell" : Number(cell.up) >= 0.999 ? "up-cell" : "down-cell";
    svg.append(
      draw("rect", { class: kind, x: i * width + 0.5, y: 50, width: Math.max(1, width - 1), height: 12, rx: 1.5 }),
    );
  });
  const y = (value) => 44 - (value / highest) * 34;
  const points = latencies.flatMap((value, i) =>
    value === null ? [] : [`${((i + 0.5) * width).toFixed(1)} ${y(value).toFixed(1)}`],
  );
  if (points.length) {
    svg.append(draw("path", { class: "latency", d: `M${points.join("L")}` }));
    svg.append(draw("text", { x: 0, y: 9 }, `${wholeOf(Math.round(highest * 10) / 10)} ms at most`));
  }
  return svg;
}

async function showUptime(endpoints) {
  const place = byId("uptime");
  if (!endpoints.length) {
    return place.replaceChildren(empty("No checks yet", "They appear some seconds after the uptime poller starts."));
  }
  const body = await ask("uptime", { hours: state.hours });
  const rows = endpoints.map((endpoint) => {
    const up = Number(endpoint.up) === 1;
    const notes = [
      `${(Number(endpoint.availability) * 100).toFixed(2)} % of ${wholeOf(endpoint.checks)} checks in 24 h`,
    ];
    if (up) notes.unshift(`${Number(endpoint.latency_ms).toFixed(1)} ms`);
    if (Number(endpoint.tls_checks)) notes.push(`certificate: ${Math.floor(Number(endpoint.tls_days_left))} days left`);
    const badge = make("span", { class: `badge ${up ? "up" : "down"}` }, up ? "up" : "down");
    const head = make(
      "div",
      {},
      make("strong", { title: endpoint.resource }, endpoint.endpoint),
      " ",
      badge,
      make("div", { class: "quiet" }, notes.join(" · ")),
    );
    const points = body.points.filter((point) => point.resource === endpoint.resource);
    return make("div", { class: "endpoint" }, head, strip(points, body.hours, Number(body.step_s)));
  });
  return place.replaceChildren(...rows);
}

function showTiles({ cities, endpoints }) {
  const tile = (label, value, note) =>
    make(
      "div",
      { class: "tile" },
      make("div", { class: "label" }, label),
      make("div", { class: "value" }, value),
      make("div", { class: "note" }, note),
    );
  const days = cities.reduce((sum, city) => sum + Number(city.days), 0);
  const up = endpoints.filter((endpoint) => Number(endpoint.up) === 1).length;
  const tiles = [
    tile("Weather stored", wholeOf(days), days ? `days of ${cities.length} cities` : "nothing yet"),
    tile(
      "Endpoints up",
      endpoints.length ? `${up} of ${endpoints.length}` : "–",
      endpoints.length ? "by their last check" : "nothing yet",
    ),
    ...cities.map((city) =>
      tile(
        city.city,
        tempOf(city.mean),
        `mean, ${tempOf(city.coldest)} to ${tempOf(city.warmest)}, since ${city.first_day}`,
      ),
    ),
  ];
  byId("tiles").replaceChildren(...tiles);
}

function showCities(cities) {
  const select = byId("city");
  const names = cities.map((city) => city.city);
  if (!names.includes(state.city)) state.city = names[0] ?? "";
  if ([...select.options].map((option) => option.value).join("\n") !== names.join("\n")) {
    select.replaceChildren(...names.map((name) => make("option", { value: name }, name)));
    select.disabled = !names.length;
  }
  select.value = state.city;
}

/** What is drawn depends on what is stored, so a refresh that changes nothing leaves the weather alone. */
let drawn = "";

async function refresh() {
  try {
    const summary = await ask("summary");
    showTiles(summary);
    showCities(summary.cities);
    const wanted = JSON.stringify([summary.cities, state.city, state.days]);
    if (wanted !== drawn) await showWeather();
    drawn = wanted;
    await showUptime(summary.endpoints);
    byId("status").textContent = `Updated ${new Date().toLocaleTimeString()}.`;
  } catch (error) {
    byId("status").textContent = `Could not update: ${error.message}. Trying again.`;
  }
}

for (const name of ["days", "hours"]) {
  byId(name).addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    state[name] = Number(button.value);
    for (const other of byId(name).children) other.setAttribute("aria-pressed", String(other === button));
    void refresh();
  });
}
byId("city").addEventListener("change", (event) => {
  state.city = event.target.value;
  void refresh();
});

/** The next refresh waits for this one: a slow answer never piles up. */
async function keepFresh() {
  for (;;) {
    if (!document.hidden) await refresh();
    await new Promise((resolve) => setTimeout(resolve, REFRESH_MS));
  }
}
void keepFresh();
