"use strict";
// The arithmetic of `perfplan plan` for a mix that is kept: how many nodes, what power, what price.
const EPS = 1e-9;
const field = (name) => document.getElementById("i-" + name);
const value = (name) => { const v = parseFloat(field(name).value); return Number.isFinite(v) && v >= 0 ? v : null; };
const show = (name, text) => { const e = document.getElementById("o-" + name); if (e) e.textContent = text; };
const figure = (v) => v === null ? "–" : v.toLocaleString("en-US", { maximumSignificantDigits: v >= 1000 ? 15 : 4,
  maximumFractionDigits: v >= 1000 ? 0 : undefined });

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
  show("nodes", figure(nodes));
  show("power", DATA.tdp_w === null ? "power not known" : figure(nodes * DATA.tdp_w / 1000) + " kW");
  show("price", figure(nodes * price) + " USD/h");
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

function plan() {
  const [growth, headroom, failures, price] = ["growth", "headroom", "failures", "price"].map(value);
  if ([growth, headroom, failures, price].includes(null) || headroom >= 100) return clear();
  const free = headroom / 100, lost = Math.round(failures);
  const states = [{ free, lost: 0, zones: 0, maintenance: DATA.maintenance }];
  if (lost) states.push({ free: DATA.free_in_failure === null ? free : DATA.free_in_failure, lost, zones: 0,
    maintenance: DATA.maintenance });
  if (DATA.zones) states.push({ free: DATA.free_in_failure === null ? free : DATA.free_in_failure, lost: 0,
    zones: DATA.zones, maintenance: DATA.maintenance });
  const used = {}; let parts = [];
  for (const s of DATA.services) {
    const n = scaled(s.mix, s.low_qps, s.peak_qps * growth, states);
    if (n === null) return clear("No number of these nodes serves " + s.name + ".");
    for (const t in n) used[t] = (used[t] || 0) + n[t];
    parts.push(s.name + ": " + Object.entries(n).map(([t, c]) => figure(c) + " " + t).join(" + "));
  }
  let nodes = 0, power = 0, usd = 0; const short = [];
  for (const t in used) {
    const type = DATA.types[t];
    nodes += used[t];
    power = power === null || type.tdp_w === null ? null : power + used[t] * type.tdp_w;
    const own = Math.min(used[t], type.owned), bought = used[t] - own;
    usd = usd === null || type.price === null ? null : usd + price * (own * type.price + bought * type.buy_price);
    if (used[t] > type.available) short.push(t + ": " + figure(used[t]) + " of " + figure(type.available));
  }
  show("nodes", figure(nodes));
  show("mix", parts.join("; "));
  show("power", power === null ? "power not known" : figure(power / 1000) + " kW");
  show("price", usd === null ? "price not known" : figure(usd) + " USD/h");
  const moved = Math.abs(growth - 1) > EPS || Math.abs(free - DATA.headroom) > EPS || lost !== DATA.lost;
  show("note", short.length ? "More than there is (" + short.join(", ") + "): a new plan has to take others."
    : moved && DATA.several ? "The mix is kept; a new plan may choose another one that costs less." : "");
}

function clear(why) {
  for (const name of ["nodes", "power", "price", "mix"]) show(name, "–");
  show("note", why || "Enter numbers from 0 up.");
}

const update = DATA.kind === "plan" ? plan : node;
document.querySelectorAll(".controls input").forEach((e) => e.addEventListener("input", update));
update();
