"use strict";
// The arithmetic of `perfplan plan` for a mix that is kept: how many nodes, what power, what price.
const EPS = 1e-9;
const field = (name) => document.getElementById("i-" + name);
const value = (name) => { const v = parseFloat(field(name).value); return Number.isFinite(v) && v >= 0 ? v : null; };
const show = (name, text) => { const e = document.getElementById("o-" + name); if (e) e.textContent = text; };
const figure = (v) => v === null ? "–"
  : v.toLocaleString("en-US", v >= 1000 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 4 });

// Whole nodes that serve after some are drained, and some lost: as the plan's own check counts them.
const serving = (n, f) => {
  let left = n - Math.ceil(f.maintenance * n - EPS);
  if (f.zones) return left - Math.ceil(left / f.zones);
  return Math.max(0, left - f.lost);
};

// The rate at which the percentile is the bound, between points of the curve; beyond them, the cliff.
function rateAt(curve, bound, cliff) {
  let last = null;
  for (const [rate, ms] of curve) {
    if (ms > bound) {
      if (last === null) return null;
      const part = (Math.log(bound) - Math.log(last[1])) / (Math.log(ms) - Math.log(last[1]));
      return last[0] + part * (rate - last[0]);
    }
    if (last === null || ms >= last[1]) last = [rate, ms]; else last = [rate, last[1]];
  }
  return cliff;
}

function node() {
  const [demand, growth, sla, headroom, failures, price] =
    ["demand", "growth", "sla", "headroom", "failures", "price"].map(value);
  if ([demand, growth, sla, headroom, failures, price].includes(null) || headroom >= 100) return clear();
  const own = Math.abs(sla - DATA.sla_ms) < EPS;
  let capacity = DATA.plan_qps;
  if (!own) {
    const here = rateAt(DATA.curve, DATA.sla_ms, DATA.cliff_qps), there = rateAt(DATA.curve, sla, DATA.cliff_qps);
    capacity = here && there ? DATA.plan_qps * there / here : null;
  }
  show("capacity", figure(capacity));
  if (capacity === null) return clear("No load meets this SLA: even the smallest of the curve takes longer.");
  const asked = demand * growth;
  const needed = Math.max(0, Math.ceil(asked / (capacity * (1 - headroom / 100)) - EPS));
  const nodes = asked > 0 ? needed + Math.round(failures) : 0;
  show("nodes", figure(nodes * DATA.machines));
  show("power", DATA.tdp_w === null ? "power not known" : figure(nodes * DATA.tdp_w / 1000) + " kW");
  show("price", figure(nodes * DATA.machines * price) + " USD/h");
  show("note", own ? "" : "At this SLA another batch size may carry more: perfplan tune answers it.");
}

// The smallest multiple of a service's mix that serves a demand in every state.
function scaled(mix, low, demand, states) {
  const types = Object.keys(mix).filter((t) => mix[t] > 0);
  const counts = (f) => Object.fromEntries(types.map((t) => [t, Math.ceil(f * mix[t] - EPS)]));
  const holds = (f) => {
    const n = counts(f);
    return states.every((s) => types.reduce((sum, t) => sum + serving(n[t], s) * low[t] * (1 - s.free), 0)
      >= demand * (1 - 1e-9));
  };
  if (demand <= 0) return Object.fromEntries(types.map((t) => [t, 0]));
  let high = 1;
  while (!holds(high)) { high *= 2; if (high > 1e6) return null; }
  const steps = [...new Set(types.flatMap((t) => {
    const most = Math.ceil(high * mix[t]);
    const first = Math.max(1, Math.floor(most / 4));
    return most > 200000 ? [high] : Array.from({ length: most + 1 }, (_, i) => i / mix[t]).filter((f) => f <= high);
  }))].sort((a, b) => a - b);
  let from = 0, to = steps.length - 1;
  while (from < to) { const mid = (from + to) >> 1; if (holds(steps[mid])) to = mid; else from = mid + 1; }
  return counts(steps[from]);
}

// What a node carries at an SLA: what was found there, else drawn through the points beside it.
function atSla(points, ms) {
  const exact = points.find((p) => Math.abs(p[0] - ms) <= 1e-9 * ms);
  if (exact) return exact[1];
  for (let i = 1; i < points.length; i++) {
    const [[x0, y0], [x1, y1]] = [points[i - 1], points[i]];
    if (x0 < ms && ms < x1) return y0 === null || y1 === null ? null
      : y0 * Math.pow(y1 / y0, Math.log(ms / x0) / Math.log(x1 / x0));
  }
  return undefined;
}

// Capacities of a service's node types at the SLA that its field says; a text where there are none.
function capacities(s, i) {
  if (!s.sla) return s.low_qps;
  const ms = value("sla-" + i);
  if (ms === null) return "Enter numbers from 0 up.";
  if (Math.abs(ms - s.sla.own_ms) <= EPS * ms) return s.low_qps;
  const low = {};
  for (const t in s.sla.curves) {
    const points = s.sla.curves[t], found = atSla(points, ms);
    if (found === undefined) return "Of " + s.name + " this page knows SLAs from " + figure(points[0][0]) + " to "
      + figure(points[points.length - 1][0]) + " ms: for another, perfplan plan.";
    low[t] = found;
  }
  return low;
}

// What is to be paid for nodes of a type: what the plan makes least of, and money.
function cost(t, n, price) {
  const type = DATA.types[t], own = Math.min(n, type.owned);
  const usd = type.price === null ? null : price * (own * type.price + (n - own) * type.buy_price);
  return { nodes: n, power: type.tdp_w === null ? null : n * type.tdp_w, price: usd };
}

// A provision that costs less than the mix: a service on one type alone, the others as they are.
function better(chosen, lows, states, growth, used, price) {
  const unit = { nodes: "nodes", power: "W", price: "USD/h", carbon: "W" }[DATA.objective];
  const key = DATA.objective === "carbon" ? "power" : DATA.objective;
  let best = null;
  DATA.services.forEach((s, i) => {
    let now = 0;
    for (const t in chosen[i]) { const c = cost(t, chosen[i][t] * s.unit[t], price)[key]; now = c === null ? null : now + c; }
    if (now === null) return;
    for (const t in lows[i]) {
      if (!lows[i][t]) continue;
      const n = scaled({ [t]: 1 }, lows[i], s.peak_qps * growth, states);
      if (n === null || (used[t] || 0) + (n[t] - (chosen[i][t] || 0)) * s.unit[t] > DATA.types[t].available) continue;
      const c = cost(t, n[t] * s.unit[t], price)[key];
      if (c !== null && now - c > 1e-6 * now && (best === null || now - c > best.saves))
        best = { saves: now - c, text: "A new plan would change the mix: " + s.name + " on " + figure(n[t] * s.unit[t]) + " " + t
          + " alone takes " + figure(now - c) + " " + unit + " less." };
    }
  });
  return best === null ? "" : best.text;
}

function plan() {
  const [growth, headroom, failures, price] = ["growth", "headroom", "failures", "price"].map(value);
  if ([growth, headroom, failures, price].includes(null) || headroom >= 100) return clear();
  const free = headroom / 100, lost = Math.round(failures);
  const inFailure = DATA.free_in_failure === null ? free : DATA.free_in_failure;
  const states = [{ free, lost: 0, zones: 0, maintenance: DATA.maintenance }];
  if (lost) states.push({ free: inFailure, lost, zones: 0, maintenance: DATA.maintenance });
  if (DATA.zones) states.push({ free: inFailure, lost: 0, zones: DATA.zones, maintenance: DATA.maintenance });
  const used = {}, parts = [], chosen = [], lows = [];
  for (const [i, s] of DATA.services.entries()) {
    const low = capacities(s, i);
    if (typeof low === "string") return clear(low);
    const none = Object.keys(s.mix).find((t) => !low[t]);
    if (none) return clear("No load of " + s.name + " meets this SLA on " + none + ": a new plan has to do without it.");
    const n = scaled(s.mix, low, s.peak_qps * growth, states);
    if (n === null) return clear("No number of these nodes serves " + s.name + ".");
    for (const t in n) used[t] = (used[t] || 0) + n[t] * s.unit[t];
    chosen.push(n); lows.push(low);
    parts.push(s.name + ": " + Object.entries(n).map(([t, c]) => figure(c * s.unit[t]) + " " + t).join(" + "));
  }
  let nodes = 0, power = 0, usd = 0; const short = [];
  for (const t in used) {
    const c = cost(t, used[t], price);
    nodes += used[t];
    power = power === null || c.power === null ? null : power + c.power;
    usd = usd === null || c.price === null ? null : usd + c.price;
    if (used[t] > DATA.types[t].available) short.push(t + ": " + figure(used[t]) + " of " + figure(DATA.types[t].available));
  }
  show("nodes", figure(nodes));
  show("mix", parts.join("; "));
  show("power", power === null ? "power not known" : figure(power / 1000) + " kW");
  show("price", usd === null ? "price not known" : figure(usd) + " USD/h");
  const moved = DATA.services.some((s, i) => s.sla && Math.abs(value("sla-" + i) - s.sla.own_ms) > EPS)
    ? " At another SLA, perfplan plan may find other batch sizes, too." : "";
  show("note", (short.length ? "More than there is (" + short.join(", ") + "): a new plan has to take others."
    : better(chosen, lows, states, growth, used, price) || "No service is cheaper on one type of node alone.") + moved);
}

function clear(why) {
  for (const name of ["nodes", "power", "price", "mix"]) show(name, "–");
  show("note", why || "Enter numbers from 0 up.");
}

const update = DATA.kind === "plan" ? plan : node;
document.querySelectorAll(".controls input").forEach((e) => e.addEventListener("input", update));
update();
