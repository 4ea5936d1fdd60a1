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

// The greatest of c x where A x <= b and x >= 0, no b below 0: the simplex method with Bland's rule, which ends.
function greatest(c, A, b) {
  const rows = A.map((row, i) => [...row, ...A.map((_, j) => +(i === j)), b[i]]);
  const cost = [...c.map((v) => -v), ...A.map(() => 0), 0], basis = A.map((_, i) => c.length + i), last = cost.length - 1;
  for (;;) {
    const column = cost.findIndex((v, j) => j < last && v < -EPS);
    if (column < 0) return cost[last];
    let pivot = -1, least = Infinity;
    rows.forEach((row, i) => {
      const ratio = row[column] > EPS ? row[last] / row[column] : Infinity;
      if (ratio < least - 1e-12 || (pivot >= 0 && ratio <= least + 1e-12 && basis[i] < basis[pivot])) { pivot = i; least = ratio; }
    });
    if (pivot < 0) return Infinity;
    const by = rows[pivot][column];
    rows[pivot] = rows[pivot].map((v) => v / by);
    for (const row of [...rows, cost]) {
      const times = row[column];
      if (row !== rows[pivot] && times) rows[pivot].forEach((v, j) => { row[j] -= times * v; });
    }
    basis[pivot] = column;
  }
}

// Each service that a group of nodes may take load of: what there is to share out.
const loadsOf = (groups) => groups.flatMap((g, index) => g.services.map((service) => ({ index, service })));

// The part of all demands, at most 1, that groups serve which share their time out, `there` units' time in each.
function served(groups, there, lows, demands) {
  const asked = demands.map((d, s) => s).filter((s) => demands[s] > 0), loads = loadsOf(groups);
  const A = asked.map((s) => [...loads.map((l) => l.service === s ? -lows[s][groups[l.index].type] / demands[s] : 0), 1]);
  groups.forEach((_, i) => A.push([...loads.map((l) => +(l.index === i)), 0]));
  A.push([...loads.map(() => 0), 1]);
  return greatest([...loads.map(() => 0), 1], A, [...asked.map(() => 0), ...there, 1]);
}

// Power that the loads of an ordinary day draw beyond idle, spread so that it is least. [W]
function loadsW(groups, there, lows, demands) {
  const loads = loadsOf(groups).filter((l) => demands[l.service] > 0);
  const asked = [...new Set(loads.map((l) => l.service))];
  const share = (l) => lows[l.service][groups[l.index].type] / demands[l.service];  // of a demand, by one unit
  const watts = (l) => groups[l.index].unit * DATA.types[groups[l.index].type].swing_w;
  const most = 2 * Math.max(1, ...loads.map((l) => watts(l) / share(l)));  // that it is worth to serve all of a demand
  const A = asked.map((s) => loads.map((l) => l.service === s ? share(l) : 0));
  groups.forEach((_, i) => A.push(loads.map((l) => +(l.index === i))));
  const worth = greatest(loads.map((l) => most * share(l) - watts(l)), A, [...asked.map(() => 1), ...there]);
  return most * asked.length - worth;
}

// Units of each group in the smallest multiple of their mix that serves the demands in every state.
function scaled(groups, lows, demands, states) {
  const counts = (f) => groups.map((g) => Math.ceil(f * g.units - EPS));
  const alone = groups.every((g) => g.services.length === 1 && g.services[0] === groups[0].services[0]);
  const holds = (f) => {
    const n = counts(f);
    return states.every((s) => {
      const there = groups.map((g, i) => serving(n[i], s) * (1 - s.free));
      if (!alone) return served(groups, there, lows, demands) >= 1 - 1e-9;
      const service = groups[0].services[0];
      return groups.reduce((sum, g, i) => sum + there[i] * lows[service][g.type], 0) >= demands[service] * (1 - 1e-9);
    });
  };
  if (!groups.some((g) => g.services.some((s) => demands[s] > 0))) return groups.map(() => 0);
  let high = 1;
  while (!holds(high)) { high *= 2; if (high > 1e6) return null; }
  const steps = [...new Set(groups.flatMap((g) => {
    const most = Math.ceil(high * g.units);
    return most > 200000 ? [high] : Array.from({ length: most + 1 }, (_, i) => i / g.units).filter((f) => f <= high);
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

// What is to be paid for nodes of a type while they are on: what the plan makes least of, and money.
function cost(t, n, price) {
  const type = DATA.types[t], own = Math.min(n, type.owned), on = DATA.by_utilisation ? type.idle_w : type.tdp_w;
  const usd = type.price === null ? null : price * (own * type.price + (n - own) * type.buy_price);
  return { nodes: n, power: on === null ? null : n * on, price: usd };
}

// The same of groups of units under their demands: where power goes by utilisation loads draw some, too.
function costs(groups, units, lows, demands, day, price) {
  const sum = { nodes: 0, power: 0, price: 0 }, used = {};
  groups.forEach((g, i) => { used[g.type] = (used[g.type] || 0) + units[i] * g.unit; });
  for (const t in used) {
    const c = cost(t, used[t], price);
    for (const key in sum) sum[key] = sum[key] === null || c[key] === null ? null : sum[key] + c[key];
  }
  if (DATA.by_utilisation && sum.power !== null)
    sum.power += loadsW(groups, groups.map((g, i) => serving(units[i], day) * (1 - day.free)), lows, demands);
  return sum;
}

const names = (services) => services.map((s) => DATA.services[s].name).join(" + ");

// A provision that costs less than the mix: services that stand together on one type alone, the others as they are.
function better(chosen, lows, demands, states, used, price) {
  const unit = { nodes: "nodes", power: "W", price: "USD/h", carbon: "W" }[DATA.objective];
  const key = DATA.objective === "carbon" ? "power" : DATA.objective;
  let best = null;
  DATA.parts.forEach((part, p) => {
    const now = costs(part.groups, chosen[p], lows, demands, states[0], price)[key];
    if (now === null) return;
    for (const other of part.alone) {
      if (part.services.some((s) => !lows[s][other.type])) continue;
      const group = [{ ...other, services: part.services, units: 1 }], n = scaled(group, lows, demands, states);
      if (n === null) continue;
      const own = part.groups.reduce((sum, g, i) => sum + (g.type === other.type ? chosen[p][i] * g.unit : 0), 0);
      if ((used[other.type] || 0) + n[0] * other.unit - own > DATA.types[other.type].available) continue;
      const c = costs(group, n, lows, demands, states[0], price)[key];
      if (c !== null && now - c > 1e-6 * now && (best === null || now - c > best.saves))
        best = { saves: now - c, text: "A new plan would change the mix: " + names(part.services) + " on " + figure(n[0] * other.unit)
          + " " + other.type + " alone takes " + figure(now - c) + " " + unit + " less." };
    }
  });
  return best === null ? "" : best.text;
}

function plan() {
  const [growth, headroom, failures] = ["growth", "headroom", "failures"].map(value);
  const price = document.getElementById("i-price") ? value("price") : 1;  // none where no price is known
  if ([growth, headroom, failures, price].includes(null) || headroom >= 100) return clear();
  const free = headroom / 100, lost = Math.round(failures);
  const inFailure = DATA.free_in_failure === null ? free : DATA.free_in_failure;
  const states = [{ free, lost: 0, zones: 0, maintenance: DATA.maintenance }];
  if (lost) states.push({ free: inFailure, lost, zones: 0, maintenance: DATA.maintenance });
  if (DATA.zones) states.push({ free: inFailure, lost: 0, zones: DATA.zones, maintenance: DATA.maintenance });
  const lows = [], demands = DATA.services.map((s) => s.peak_qps * growth);
  for (const [i, s] of DATA.services.entries()) {
    const low = capacities(s, i);
    if (typeof low === "string") return clear(low);
    lows.push(low);
  }
  const used = {}, texts = [], chosen = [];
  let power = 0;
  for (const part of DATA.parts) {
    for (const g of part.groups) for (const s of g.services) if (!lows[s][g.type])
      return clear("No load of " + DATA.services[s].name + " meets this SLA on " + g.type + ": a new plan has to do without it.");
    const n = scaled(part.groups, lows, demands, states), of = {};
    if (n === null) return clear("No number of these nodes serves " + names(part.services) + ".");
    part.groups.forEach((g, i) => {
      used[g.type] = (used[g.type] || 0) + n[i] * g.unit;
      (of[names(g.services)] ||= []).push(figure(n[i] * g.unit) + " " + g.type);
    });
    const watts = costs(part.groups, n, lows, demands, states[0], price).power;
    power = power === null || watts === null ? null : power + watts;
    chosen.push(n);
    for (const who in of) texts.push(who + ": " + of[who].join(" + "));
  }
  let nodes = 0, usd = 0; const short = [];
  for (const t in used) {
    const c = cost(t, used[t], price);
    nodes += used[t];
    usd = usd === null || c.price === null ? null : usd + c.price;
    if (used[t] > DATA.types[t].available) short.push(t + ": " + figure(used[t]) + " of " + figure(DATA.types[t].available));
  }
  show("nodes", figure(nodes));
  show("mix", texts.join("; "));
  show("power", power === null ? "power not known" : figure(power / 1000) + " kW");
  show("price", usd === null ? "price not known" : figure(usd) + " USD/h");
  const moved = DATA.services.some((s, i) => s.sla && Math.abs(value("sla-" + i) - s.sla.own_ms) > EPS)
    ? " At another SLA, perfplan plan may find other batch sizes, too." : "";
  const together = DATA.parts.some((part) => part.services.length > 1);
  show("note", (short.length ? "More than there is (" + short.join(", ") + "): a new plan has to take others."
    : better(chosen, lows, demands, states, used, price) || (together ? "None of the services that share nodes" : "No service")
      + " is cheaper on one type of node alone.") + moved);
}

function clear(why) {
  for (const name of ["nodes", "power", "price", "mix"]) show(name, "–");
  show("note", why || "Enter numbers from 0 up.");
}

const update = DATA.kind === "plan" ? plan : node;
document.querySelectorAll(".controls input").forEach((e) => e.addEventListener("input", update));
update();
