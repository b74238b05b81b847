"use strict";
// What another policy would keep. The clips' measurements are float32 columns; thresholds are
// rounded to float32 before they are compared, as curation/selection.py does, so that a clip that
// lies on a threshold falls on the same side here and there.

const STEPS = 1000;
const RATES = [6, 12, 24];
const PACKED_RATE = 24;
const Z_95 = 1.96;

class Measurements {
  constructor(data) {
    this.count = data.embedded;
    this.population = data.population;
    this.seconds = typed(data.seconds, Float64Array);
    this.frames = typed(data.frames, Int32Array);
    this.bucket = typed(data.bucket, Uint8Array);
    this.barred = typed(data.barred, Uint8Array);
    this.bucketNames = data.buckets;
    this.columns = {};
    for (const [name, text] of Object.entries(data.columns)) {
      this.columns[name] = typed(text, Float32Array);
    }
    this.usable = RATES.map((rate) => this.frames.map((frames) => usableFrames(frames, rate)));
  }
}

/** Frames that training can use at a rate: every (24 / rate)-th, in a run of 4n+1. */
function usableFrames(frames, rate) {
  if (frames <= 0) return 0;
  const shown = Math.floor((frames - 1) / (PACKED_RATE / rate));
  return Math.floor(shown / 4) * 4 + 1;
}

/** One threshold: its bounds, which clips break it, and where each clip lies in its histogram. */
class Threshold {
  constructor(threshold, measurement, measurements) {
    this.name = threshold.name;
    this.measurement = measurement;
    this.own = { min: threshold.min, max: threshold.max };
    this.recipe = { min: threshold.recipe_min, max: threshold.recipe_max };
    this.bounds = { ...this.own };
    this.values = measurements.columns[threshold.name];
    this.broken = new Uint8Array(measurements.count);
    this.edges = Float32Array.from(measurement.histogram.edges);
    this.logarithmic = measurement.histogram.scale === "log";
    this.bins = this.values.map((value) => this.binOf(value));
    this.all = this.counted(() => true);
    this.judge();
  }

  binOf(value) {
    if (Number.isNaN(value)) return -1;
    let low = 0;
    let high = this.edges.length - 2;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (value >= this.edges[middle]) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  counted(includes) {
    const counts = new Uint32Array(this.edges.length - 1);
    for (let i = 0; i < this.bins.length; i += 1) {
      if (this.bins[i] >= 0 && includes(i)) counts[this.bins[i]] += 1;
    }
    return counts;
  }

  judge() {
    const { min, max } = this.bounds;
    const low = min === null ? -Infinity : Math.fround(min);
    const high = max === null ? Infinity : Math.fround(max);
    const open = min === null && max === null;
    for (let i = 0; i < this.values.length; i += 1) {
      const value = this.values[i];
      this.broken[i] = !open && (Number.isNaN(value) || value < low || value > high) ? 1 : 0;
    }
  }

  get ends() {
    const edges = this.measurement.histogram.edges;
    return [edges[0], edges[edges.length - 1]];
  }

  /** A bound -> its place on the axis, 0 to 1; an open bound lies at the axis's end. */
  place(value, end) {
    const [low, high] = this.ends;
    if (value === null) return end === "min" ? 0 : 1;
    const share = this.logarithmic
      ? Math.log(Math.max(value, low) / low) / Math.log(high / low)
      : (value - low) / (high - low);
    return Math.min(1, Math.max(0, share));
  }

  /** A slider's step -> a bound with three digits; the outermost step opens the range. */
  valueAt(step, end) {
    if (end === "min" && step <= 0) return null;
    if (end === "max" && step >= STEPS) return null;
    const [low, high] = this.ends;
    const share = step / STEPS;
    const value = this.logarithmic ? low * (high / low) ** share : low + (high - low) * share;
    return Number(value.toPrecision(3));
  }
}

class Policy {
  constructor(measurements, thresholds) {
    this.measurements = measurements;
    this.thresholds = thresholds;
    this.failures = new Uint8Array(measurements.count);
    this.count();
  }

  /** How many rules each clip breaks. */
  count() {
    const { failures, measurements, thresholds } = this;
    failures.set(measurements.barred);
    for (const { broken } of thresholds) {
      for (let i = 0; i < failures.length; i += 1) failures[i] += broken[i];
    }
  }

  move(threshold, end, value) {
    threshold.bounds[end] = value;
    threshold.judge();
    this.count();
  }

  reset(which) {
    for (const threshold of this.thresholds) {
      threshold.bounds = { ...threshold[which] };
      threshold.judge();
    }
    this.count();
  }

  /** Clips, hours, usable frames and buckets that the policy keeps, scaled up from a draw. */
  yield() {
    const { measurements, failures } = this;
    const buckets = measurements.bucketNames.map(() => [0, 0, 0, 0, 0]);
    const total = { clips: 0, hours: 0, usable: [0, 0, 0], squares: 0 };
    for (let i = 0; i < failures.length; i += 1) {
      if (failures[i]) continue;
      const seconds = measurements.seconds[i];
      const bucket = buckets[measurements.bucket[i]];
      total.clips += 1;
      total.hours += seconds;
      total.squares += seconds * seconds;
      bucket[0] += 1;
      bucket[1] += seconds;
      for (let rate = 0; rate < RATES.length; rate += 1) {
        const frames = measurements.usable[rate][i];
        total.usable[rate] += frames;
        bucket[2 + rate] += frames;
      }
    }
    return this.scaled(total, buckets);
  }

  scaled(total, buckets) {
    const { population, count } = this.measurements;
    const scale = count ? population / count : 0;
    return {
      clips: total.clips * scale,
      hours: (total.hours * scale) / 3600,
      usable: total.usable.map((frames) => frames * scale),
      buckets: buckets.map(([clips, seconds, ...frames]) => [
        clips * scale,
        (seconds * scale) / 3600,
        ...frames.map((number) => number * scale),
      ]),
      clipsError: this.error(total.clips, total.clips),
      hoursError: this.error(total.hours, total.squares) / 3600,
    };
  }

  /** Half of the 95 % interval of a total that is estimated from a draw without replacement. */
  error(sum, squares) {
    const { population, count } = this.measurements;
    if (count >= population || count < 2) return 0;
    const variance = (squares - (sum * sum) / count) / (count - 1);
    return Z_95 * population * Math.sqrt((variance / count) * (1 - count / population));
  }

  cost(threshold) {
    let all = 0;
    let alone = 0;
    for (let i = 0; i < this.failures.length; i += 1) {
      if (threshold.broken[i]) {
        all += 1;
        if (this.failures[i] === 1) alone += 1;
      }
    }
    const scale = this.measurements.population / this.measurements.count;
    return { all: all * scale, alone: alone * scale };
  }

  /** `--set` arguments that turn one policy ('own', 'recipe') into this one. */
  settings(base) {
    const found = [];
    for (const { name, bounds, [base]: before } of this.thresholds) {
      for (const end of ["min", "max"]) {
        if (bounds[end] !== before[end]) {
          found.push(`--set select.${name}.${end}=${bounds[end] === null ? "none" : bounds[end]}`);
        }
      }
    }
    return found;
  }
}

/** Bars of a histogram as one path in a box of 100 x 100; their height is the root of the count. */
function barPath(counts, highest) {
  const step = 100 / counts.length;
  let path = "";
  counts.forEach((count, bin) => {
    if (!count) return;
    const top = 100 - Math.max(2, Math.sqrt(count / highest) * 96);
    const left = (bin * step + step * 0.06).toFixed(2);
    const right = ((bin + 1) * step - step * 0.06).toFixed(2);
    path += `M${left} 100V${top.toFixed(2)}H${right}V100Z`;
  });
  return path;
}

/** A threshold's card: histogram, two handles over it, two fields, what it costs. */
class ThresholdCard {
  constructor(threshold, changed) {
    this.threshold = threshold;
    this.changed = changed;
    this.handles = { min: this.handle("min"), max: this.handle("max") };
    this.fields = { min: this.field("min"), max: this.field("max") };
    this.build();
  }

  build() {
    const { measurement, all } = this.threshold;
    this.highest = Math.max(1, ...all);
    this.kept = drawing("path", { class: "bars-kept" });
    this.shades = ["min", "max"].map(() =>
      drawing("rect", { class: "shade", y: 0, height: 100, width: 0 }),
    );
    this.lines = ["min", "max"].map(() =>
      drawing("line", { class: "threshold-line", y1: 0, y2: 100 }),
    );
    const plot = drawing(
      "svg",
      { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" },
      drawing("path", { class: "bars-all", d: barPath(all, this.highest) }),
      this.kept,
      ...this.shades,
      ...this.lines,
    );
    this.cost = element("p.cost", {});
    this.dot = element("span.moved", { title: "not as in this version" });
    const [low, high] = this.threshold.ends;
    this.root = element(
      "article.threshold",
      { "data-name": this.threshold.name, role: "group", "aria-label": measurement.label },
      element(
        "header",
        {},
        element("h4", {}, measurement.label, element("span.unit", {}, measurement.unit), this.dot),
        this.cost,
      ),
      element("p.about", {}, measurement.about),
      element("div.plot", {}, plot, this.handles.min, this.handles.max),
      element(
        "div.ticks",
        { "aria-hidden": "true" },
        element("span", {}, formatSignificant(low)),
        element("span", {}, this.threshold.logarithmic ? "log scale" : ""),
        element("span", {}, formatSignificant(high)),
      ),
      element(
        "div.bounds",
        {},
        element("label", {}, element("span", {}, "min"), this.fields.min),
        element("label", {}, element("span", {}, "max"), this.fields.max),
        element("span.missing", {}, this.missing()),
      ),
    );
  }

  missing() {
    const { missing } = this.threshold.measurement;
    return missing ? `${formatNumber(missing)} not measured` : "";
  }

  handle(end) {
    return element(`input.handle.handle-${end}`, {
      type: "range",
      min: 0,
      max: STEPS,
      step: 1,
      "aria-label": `${this.threshold.measurement.label}, ${end === "min" ? "least" : "most"}`,
      oninput: () => this.slid(end),
    });
  }

  field(end) {
    return element("input.bound", {
      type: "text",
      inputmode: "decimal",
      placeholder: "open",
      spellcheck: "false",
      autocomplete: "off",
      "aria-label": `${this.threshold.measurement.label}, ${end === "min" ? "minimum" : "maximum"}`,
      onchange: () => this.typed(end),
    });
  }

  slid(end) {
    const value = this.threshold.valueAt(Number(this.handles[end].value), end);
    this.changed(this.threshold, end, this.held(end, value));
  }

  /** A handle stops at the other one. */
  held(end, value) {
    const { min, max } = this.threshold.bounds;
    if (value !== null && end === "min" && max !== null) return Math.min(value, max);
    if (value !== null && end === "max" && min !== null) return Math.max(value, min);
    return value;
  }

  typed(end) {
    const text = this.fields[end].value.trim().replace(",", ".");
    const value = text === "" || text === "none" ? null : Number(text);
    const valid = value === null || (Number.isFinite(value) && this.held(end, value) === value);
    this.fields[end].setAttribute("aria-invalid", String(!valid));
    if (valid) this.changed(this.threshold, end, value);
  }

  show(policy) {
    const { threshold } = this;
    const places = ["min", "max"].map((end) => threshold.place(threshold.bounds[end], end) * 100);
    this.kept.setAttribute(
      "d",
      barPath(threshold.counted((i) => policy.failures[i] === 0), this.highest),
    );
    this.shades[0].setAttribute("width", places[0]);
    this.shades[1].setAttribute("x", places[1]);
    this.shades[1].setAttribute("width", 100 - places[1]);
    ["min", "max"].forEach((end, k) => {
      const bound = threshold.bounds[end];
      this.lines[k].setAttribute("x1", places[k]);
      this.lines[k].setAttribute("x2", places[k]);
      this.lines[k].classList.toggle("open", bound === null);
      this.handles[end].value = Math.round(places[k] * (STEPS / 100));
      this.handles[end].classList.toggle("open", bound === null);
      this.handles[end].setAttribute(
        "aria-valuetext",
        bound === null ? "open" : `${bound} ${threshold.measurement.unit}`.trim(),
      );
      if (document.activeElement !== this.fields[end] || this.fields[end].value === "") {
        this.fields[end].value = bound === null ? "" : String(bound);
      }
      if (bound !== null || this.fields[end].value === "") {
        this.fields[end].setAttribute("aria-invalid", "false");
      }
    });
    // The handle nearer to its own end must be reachable where both lie on top of each other.
    this.handles.min.classList.toggle("above", places[0] > 50);
    const { all, alone } = policy.cost(threshold);
    this.cost.replaceChildren(
      element("strong", {}, formatNumber(all)),
      " out",
      alone ? `, ${formatNumber(alone)} only here` : "",
    );
    this.root.classList.toggle("touched", this.moved());
  }

  moved() {
    const { bounds, own } = this.threshold;
    return bounds.min !== own.min || bounds.max !== own.max;
  }
}

/** The yield beside the thresholds, and the commands. */
class YieldPanel {
  constructor(policy, command) {
    this.policy = policy;
    this.command = command;
    this.root = document.getElementById("yield");
    this.before = policy.yield();
    for (const button of this.root.querySelectorAll("[data-reset]")) {
      button.addEventListener("click", () => this.reset(button.dataset.reset));
    }
    for (const button of this.root.querySelectorAll("[data-copy]")) {
      button.addEventListener("click", () => this.copy(button));
    }
  }

  show() {
    const now = this.policy.yield();
    this.figure("clips", formatNumber(now.clips), now.clips - this.before.clips, formatNumber);
    this.figure("hours", formatDuration(now.hours), now.hours - this.before.hours, formatDuration);
    this.error("clips", now.clipsError, formatNumber);
    this.error("hours", now.hoursError, formatDuration);
    RATES.forEach((rate, k) => {
      this.find(`frames-${rate}`).textContent = formatNumber(now.usable[k]);
    });
    this.buckets(now.buckets);
    this.root.dataset.clips = now.clips;
    this.root.dataset.hours = now.hours;
    this.root.dataset.usable = now.usable.join(" ");
    this.find("curate").textContent = this.curateCommand();
    this.find("preview").textContent = this.previewCommand();
    this.root.classList.toggle("changed", this.policy.settings("own").length > 0);
  }

  find(name) {
    return this.root.querySelector(`[data-show="${name}"]`);
  }

  figure(name, text, difference, format) {
    this.find(name).textContent = text;
    const shown = this.find(`${name}-change`);
    const sign = difference < 0 ? "−" : "+";
    const unchanged = Math.abs(difference) < 1e-9;
    shown.textContent = unchanged ? "unchanged" : sign + format(Math.abs(difference));
    shown.className = unchanged ? "change" : `change ${difference < 0 ? "less" : "more"}`;
  }

  error(name, half, format) {
    this.find(`${name}-error`).textContent = half ? `± ${format(half)}` : "";
  }

  buckets(rows) {
    const names = this.policy.measurements.bucketNames;
    this.find("buckets").replaceChildren(
      ...rows.map(([clips, hours, ...frames], k) =>
        element(
          "tr",
          clips ? { "data-bucket": names[k] } : { class: "none", "data-bucket": names[k] },
          element("th", { scope: "row" }, names[k]),
          element("td", {}, formatNumber(clips)),
          element("td", {}, formatDuration(hours)),
          ...frames.map((number) => element("td", {}, formatNumber(number))),
        ),
      ),
    );
  }

  curateCommand() {
    const { curate, base } = this.command;
    return [...curate, ...base, ...this.policy.settings("recipe")].join(" ");
  }

  previewCommand() {
    return [...this.command.preview, ...this.policy.settings("own")].join(" ");
  }

  async copy(button) {
    const source = this.find(button.dataset.copy);
    await copyText(source.textContent, source);
    const words = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => {
      button.textContent = words;
    }, 1500);
  }

  reset(which) {
    this.policy.reset(which);
    this.root.dispatchEvent(new Event("policy"));
  }
}

function startWhatIf() {
  const data = embedded("whatif-data");
  const measurements = new Measurements(data);
  const described = new Map(embedded("measurement-data").map((entry) => [entry.name, entry]));
  const thresholds = embedded("threshold-data").map(
    (threshold) => new Threshold(threshold, described.get(threshold.name), measurements),
  );
  const policy = new Policy(measurements, thresholds);
  const panel = new YieldPanel(policy, data.command);
  const cards = thresholds.map(
    (threshold) =>
      new ThresholdCard(threshold, (moved, end, value) => {
        policy.move(moved, end, value);
        showSoon();
      }),
  );
  const inUse = ({ threshold: { own } }) => own.min !== null || own.max !== null;
  document.getElementById("thresholds").append(...cards.filter(inUse).map((card) => card.root));
  const open = cards.filter((card) => !inUse(card));
  document.getElementById("open-thresholds").append(...open.map((card) => card.root));
  document.getElementById("open-thresholds-part").hidden = open.length === 0;

  function show() {
    panel.show();
    for (const card of cards) card.show(policy);
  }
  let waiting = false;
  function showSoon() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      show();
    });
  }
  panel.root.addEventListener("policy", show);
  show();
}
