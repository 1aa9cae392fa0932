"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const { currency, decimals, customer: own } = document.body.dataset;
  let zone = "";
  const useZone = (name) => {
    zone = name;
    if ($("zone")) $("zone").textContent = name.replaceAll("_", " ");
  };
  useZone(Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC");

  // --- The session ------------------------------------------------------------------------------
  const signIn = $("sign-in");
  if (signIn) {
    signIn.addEventListener("submit", async (event) => {
      event.preventDefault();
      const wrong = $("key-error");
      wrong.hidden = true;
      try {
        const answer = await fetch("/session", {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify({ key: $("key").value.trim() }),
        });
        if (answer.ok) return location.reload();
        const problem = await answer.json();
        wrong.textContent = answer.status === 401 ? "This key is not valid. Check it, or ask for a new one." : problem.title + ".";
      } catch {
        wrong.textContent = "The service does not answer. Try again shortly.";
      }
      wrong.hidden = false;
      $("key").focus();
    });
    return;
  }
  $("sign-out")?.addEventListener("click", async () => {
    await fetch("/session", { method: "DELETE" });
    location.reload();
  });

  // --- The query -------------------------------------------------------------------------------
  const MINUTE = 60_000;
  const RANGES = {
    "1h": { span: 60 * MINUTE, step: "minute", every: 15_000 },
    "6h": { span: 360 * MINUTE, step: "minute", every: 15_000 },
    "24h": { span: 1440 * MINUTE, step: "minute", every: 30_000 },
    "7d": { span: 7 * 1440 * MINUTE, step: "hour", every: 60_000 },
    "30d": { span: 30 * 1440 * MINUTE, step: "hour", every: 120_000 },
  };
  const saved = new URLSearchParams(location.hash.slice(1));
  let range = saved.get("range") in RANGES ? saved.get("range") : "6h";
  let chosen = own || saved.get("customer") || "";
  const FIRST_RETRY = 2_000;
  let paused = false, timer = 0, turn = 0, failures = 0, newest = null, shown = range;

  const url = (bounds, more) => {
    const query = new URLSearchParams({ from: bounds[0], to: bounds[1], tz: zone, ...more });
    if (chosen && !own) query.set("customer_id", chosen);
    return "/v1/stats/summary?" + query;
  };
  class Refused extends Error {
    constructor(status, problem) {
      super(problem.title);
      this.status = status;
      this.code = problem.code;
      this.fields = (problem.errors || []).map((wrong) => wrong.field);
    }
  }
  const get = async (address) => {
    const answer = await fetch(address, { headers: { Accept: "application/json" } }).catch(() => {
      throw new Refused(0, { title: "no answer", code: "" });
    });
    if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => ({ title: "", code: "" })));
    return (await answer.json()).rows;
  };

  const refresh = async () => {
    clearTimeout(timer);
    const mine = ++turn;
    const { span, step, every } = RANGES[range];
    const to = Math.ceil(Date.now() / MINUTE) * MINUTE;
    const stepMs = step === "hour" ? 60 * MINUTE : MINUTE;
    const from = Math.floor((to - span) / stepMs) * stepMs;
    const bounds = [new Date(from).toISOString(), new Date(to).toISOString()];
    try {
      const [totals, series, operators, errors, customers] = await Promise.all([
        get(url(bounds, { delays: "1" })),
        get(url(bounds, { group_by: step, fill: "1" })),
        get(url(bounds, { group_by: "operator", delays: "1" })),
        get(url(bounds, { group_by: "error" })),
        $("customer") ? get("/v1/stats/summary?" + new URLSearchParams({ from: bounds[0], to: bounds[1], group_by: "customer" })) : [],
      ]);
      if (mine !== turn) return;
      newest = new Date();
      failures = 0;
      shown = range;
      show({ totals: totals[0], series, operators, errors, customers, step });
      banner();
    } catch (error) {
      if (!(error instanceof Refused)) throw error; // a bug of this page must stay visible
      if (mine !== turn) return;
      if (error.status === 401) return location.reload();
      if (error.fields.includes("tz") && zone !== "UTC") { // a browser may name a zone that the server does not know
        useZone("UTC");
        return refresh();
      }
      failures += 1;
      const other = shown === range ? "" : ` and covers ${document.querySelector(`[data-range="${shown}"]`).textContent}`;
      const since = newest ? ` The data shown is from ${clock(newest)}${other}.` : "";
      if (error.code === "query_too_slow") banner("This took too long.", `Choose a shorter range.${since}`);
      else if (error.status === 403) banner("No access.", "This key belongs to another customer.");
      else banner("Statistics are unavailable.", `No messages are lost, and this page retries by itself.${since}`);
    }
    // One failure must not leave the page without numbers for a whole interval: try again soon, then less often.
    const pause = failures ? Math.min(every, FIRST_RETRY * 2 ** (failures - 1)) : every;
    if (!paused && mine === turn) timer = setTimeout(refresh, document.hidden ? 4 * pause : pause);
  };

  // --- The display ---------------------------------------------------------------------------
  const whole = new Intl.NumberFormat();
  const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
  const clock = (moment) => moment.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const big = (value) => (Math.abs(value) >= 1e7 ? short : whole).format(value);
  // The API has minor units; the page shows major units with the currency's decimals.
  const places = Number(decimals), unit = 10 ** places;
  const exact = new Intl.NumberFormat(undefined, { minimumFractionDigits: places, maximumFractionDigits: places });
  const amount = (major) => (Math.abs(major) >= 1e7 ? short : exact).format(major);
  const spent = (row) => (row.cost - row.refunded) / unit;
  const lost = (row) => row.undelivered + row.failed + row.rejected + row.expired;
  const rate = (row) => { const ended = row.delivered + lost(row); return ended ? row.delivered / ended : null; };
  const percent = (share) => share === null ? "–" : (share * 100).toFixed(share > 0.9995 || share < 0.0005 ? 0 : 1) + " %";
  const time = (ms) => ms == null ? "–" : ms < 1000 ? `${ms} ms` : ms < 60_000 ? `${(ms / 1000).toFixed(1)} s`
    : ms < 3_600_000 ? `${(ms / 60_000).toFixed(1)} min` : `${(ms / 3_600_000).toFixed(1)} h`;
  const put = (id, text, unit) => {
    const place = $(id);
    place.textContent = text;
    if (unit) { const small = document.createElement("span"); small.className = "unit"; small.textContent = " " + unit; place.append(small); }
  };
  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const meter = (share) => {
    const outer = element("span", "meter"), inner = element("i");
    inner.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
    outer.append(inner);
    return outer;
  };
  const banner = (title, text) => {
    $("banner").hidden = !title;
    $("banner-title").textContent = title || "";
    $("banner-text").textContent = text || "";
    if (newest) $("updated").textContent = `As of ${clock(newest)}`;
    else if (title) $("updated").textContent = "No numbers yet";
  };
  const empty = (id, is) => {
    const section = $(id).closest("section");
    section.querySelector(".empty").hidden = !is;
    const shown = $(id).closest(".scroll") || $(id);
    shown.hidden = is;
    for (const besides of section.querySelectorAll(".under, .legend")) besides.hidden = is;
  };

  const show = ({ totals, series, operators, errors, customers, step }) => {
    const none = !totals || !totals.accepted;
    put("t-accepted", none ? "0" : big(totals.accepted));
    put("t-accepted-note", none ? "none in this period" : `${big(totals.segments)} segments, ${big(totals.pending)} in progress`);
    put("t-rate", none ? "–" : percent(rate(totals)));
    put("t-rate-note", none ? "no final status yet" : `${big(totals.delivered)} delivered, ${big(lost(totals))} failed`);
    put("t-time", none ? "–" : time(totals.delivery_ms?.p50));
    put("t-time-note", none || !totals.delivery_ms ? "no delivery yet" : `median; 90 % within ${time(totals.delivery_ms.p90)}`);
    put("t-spend", amount(none ? 0 : spent(totals)), currency);
    put("t-spend-note", none ? "nothing was spent" : `${amount(totals.refunded / unit)} ${currency} refunded`);
    for (const id of ["traffic-step", "spend-step"]) $(id).textContent = "per " + step;
    empty("traffic", none);
    empty("spend", none);
    const xs = series.map((row) => Date.parse(row[step]) / 1000);
    data.traffic = [xs, series.map((row) => row.accepted), series.map((row) => row.delivered), series.map(lost)];
    data.spend = [xs, series.map(spent)];
    if (!none) { draw("traffic"); draw("spend"); }
    $("traffic").setAttribute("aria-label", none ? "No messages" : `${totals.accepted} messages, at most ${Math.max(...data.traffic[1])} per ${step}`);
    showOperators(operators.filter((row) => row.operator).sort((a, b) => b.accepted - a.accepted));
    showErrors(errors.filter((row) => row.error).sort((a, b) => b.accepted - a.accepted));
    if ($("customer")) showCustomers(customers.sort((a, b) => b.accepted - a.accepted));
  };
  const showOperators = (rows) => {
    const body = $("operators").tBodies[0];
    body.replaceChildren(...rows.map((row) => {
      const line = element("tr"), share = element("div", "rate"), cell = element("td");
      share.append(element("span", "", percent(rate(row))), meter(rate(row) ?? 0));
      cell.append(share);
      line.append(element("td", "", row.operator), element("td", "n", big(row.accepted)), cell,
        element("td", "n", time(row.delivery_ms?.p50)), element("td", "n", time(row.delivery_ms?.p90)));
      return line;
    }));
    empty("operators", !rows.length);
  };
  const showErrors = (rows) => {
    const most = rows.length ? rows[0].accepted : 1;
    $("errors").replaceChildren(...rows.slice(0, 8).map((row) => {
      const item = element("li");
      const code = element("span", "code", row.error.replaceAll("_", " "));
      code.title = row.error;
      item.append(code, element("span", "", big(row.accepted)), meter(row.accepted / most));
      return item;
    }));
    empty("errors", !rows.length);
  };
  const showCustomers = (rows) => {
    const select = $("customer");
    if (select === document.activeElement) return; // do not change it while it is in use
    const known = rows.slice(0, 200).map((row) => [row.customer, `${row.customer} (${big(row.accepted)})`]);
    if (chosen && !known.some(([id]) => id === chosen)) known.unshift([chosen, `${chosen} (0)`]);
    select.replaceChildren(new Option("All customers", ""), ...known.map(([id, text]) => new Option(text, id)));
    select.value = chosen;
  };

  // --- Charts -----------------------------------------------------------------------------------
  const charts = {}, data = {};
  const paint = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const veil = (hex, alpha) => `rgb(${[1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)).join(" ")} / ${alpha})`;
  const tip = (labels, format) => {
    let box;
    return { hooks: {
      init: (plot) => { box = element("div", "tip"); box.hidden = true; plot.over.append(box); },
      setCursor: (plot) => {
        const at = plot.cursor.idx;
        box.hidden = at == null || plot.cursor.left < 0;
        if (box.hidden) return;
        const moment = new Date(plot.data[0][at] * 1000);
        box.replaceChildren(element("div", "", moment.toLocaleString([], { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" })),
          ...labels.map((label, index) => element("div", "", `${format(plot.data[index + 1][at])} ${label}`)));
        const right = plot.cursor.left > plot.over.clientWidth / 2;
        box.style.left = right ? "" : `${plot.cursor.left + 12}px`;
        box.style.right = right ? `${plot.over.clientWidth - plot.cursor.left + 12}px` : "";
        box.style.top = "6px";
      },
    } };
  };
  // Steps of an axis: whole messages, or money down to a minor unit.
  const steps = (lowest) => Array.from({ length: 15 + lowest }, (_, power) => [1, 2, 5].map((first) => first * 10 ** (power - lowest))).flat();
  const axis = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: Math.max(1, places) });
  const draw = (id) => {
    const place = $(id);
    const width = place.clientWidth, height = place.clientHeight;
    if (!width) return;
    if (charts[id]) {
      charts[id].setSize({ width, height });
      charts[id].setData(data[id]);
      return;
    }
    const accent = paint("--accent"), good = paint("--good"), bad = paint("--bad"), soft = paint("--soft"), grid = paint("--grid");
    const font = "12px system-ui, sans-serif";
    const line = data[id][0].length > width / 2 ? 1.25 : 2; // more points than there is room for thick lines
    const series = id === "traffic"
      ? [{}, { stroke: veil(accent, 0.6), fill: veil(accent, 0.16), width: 1.5, points: { show: false } },
          { stroke: good, width: line, points: { show: false } }, { stroke: bad, width: line, points: { show: false } }]
      : [{}, { stroke: accent, fill: veil(accent, 0.5), width: 1, points: { show: false }, paths: uPlot.paths.bars({ size: [0.7, 24] }) }];
    charts[id] = new uPlot({
      width, height, series, padding: [10, 8, 0, 0],
      cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false } },
      legend: { show: false },
      scales: { y: { range: (_plot, low, high) => [Math.min(0, low), high > 0 ? high * 1.08 : 1] } },
      axes: [
        { stroke: soft, font, grid: { show: false }, ticks: { stroke: grid, size: 5 }, size: 40, space: 76, values: hours },
        { stroke: soft, font, grid: { stroke: grid, width: 1 }, ticks: { show: false }, size: 52, gap: 8, space: 40, incrs: steps(id === "spend" ? places : 0),
          values: (_plot, splits) => splits.map((value) => (id === "spend" ? axis : short).format(value)) },
      ],
      plugins: [id === "traffic" ? tip(["accepted", "delivered", "not delivered"], whole.format) : tip([currency], amount)],
    }, data[id], place);
  };
  const hours = (_plot, splits, _axis, _space, step) => splits.map((value, index) => {
    const moment = new Date(value * 1000);
    const day = moment.toLocaleDateString([], { month: "short", day: "numeric" });
    if (step >= 86_400) return day;
    const at = moment.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
    const before = index ? new Date(splits[index - 1] * 1000).getDate() : moment.getDate();
    return before === moment.getDate() ? at : `${at}\n${day}`;
  });
  const redraw = () => {
    for (const id of Object.keys(charts)) { charts[id].destroy(); delete charts[id]; }
    for (const id of Object.keys(data)) if (!$(id).hidden) draw(id);
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  let resizing = 0;
  addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(redraw, 120); });

  // --- Controls ---------------------------------------------------------------------------------
  const buttons = [...document.querySelectorAll("[data-range]")];
  const remember = () => {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.range === range));
    const state = new URLSearchParams({ range });
    if (chosen && !own) state.set("customer", chosen);
    history.replaceState(null, "", "#" + state);
  };
  for (const button of buttons) button.addEventListener("click", () => { range = button.dataset.range; remember(); refresh(); });
  $("customer")?.addEventListener("change", (event) => { chosen = event.target.value; event.target.blur(); remember(); refresh(); });
  $("pause").addEventListener("click", () => {
    paused = !paused;
    $("pause").textContent = paused ? "Resume" : "Pause";
    $("pause").setAttribute("aria-pressed", String(paused));
    if (paused) clearTimeout(timer); else refresh();
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden && !paused) refresh(); });
  remember();
  refresh();
})();
