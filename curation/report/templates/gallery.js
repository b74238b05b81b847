"use strict";
// Clips as pictures: filtered, sorted, scrubbed; multi-shot samples; look-alike pairs.

const PER_PAGE = 40;
const FRAMES_PER_SEQUENCE = 9;

class Gallery {
  constructor(data) {
    this.clips = data.clips;
    this.byId = new Map(data.clips.map((clip) => [clip.id, clip]));
    this.measurements = data.measurements;
    this.sequences = data.sequences;
    this.pairs = data.pairs;
    this.total = data.total;
    this.details = new Details(this);
    this.grid = document.getElementById("tiles");
    this.form = document.getElementById("gallery-controls");
    this.more = document.getElementById("more-tiles");
    this.count = document.getElementById("tile-count");
    this.fillSelects();
    this.form.addEventListener("input", () => this.refresh());
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.more.addEventListener("click", () => this.grow());
    this.refresh();
  }

  fillSelects() {
    const reasons = new Map(this.clips.flatMap((clip) => clip.reasons));
    const films = [...new Set(this.clips.map((clip) => clip.film))].sort();
    const fill = (name, options) =>
      this.form.elements[name].append(
        ...options.map(([value, words]) => element("option", { value }, words)),
      );
    fill("reason", [...reasons].sort((a, b) => a[1].localeCompare(b[1])));
    fill("film", films.map((film) => [film, film]));
    fill("sort", this.measurements.map(({ name, label }) => [name, label]));
    for (const radio of this.form.querySelectorAll("input[name=status]")) {
      const count = this.clips.filter((clip) => this.hasStatus(clip, radio.value)).length;
      radio.nextElementSibling.append(element("span.count", {}, formatNumber(count)));
      radio.closest("label").hidden = count === 0 && radio.value !== "all";
    }
  }

  hasStatus(clip, status) {
    if (status === "all") return true;
    if (status === "borderline") return clip.borderline.length > 0;
    return clip.status === status;
  }

  hasKind(clip, kind) {
    return kind === "" || clip.samples.some((sample) => sample.kind === kind);
  }

  chosen() {
    const { status, reason, film, kind, sort, order } = this.form.elements;
    const found = this.clips.filter(
      (clip) =>
        this.hasStatus(clip, status.value) &&
        this.hasKind(clip, kind.value) &&
        (reason.value === "" || clip.reasons.some(([code]) => code === reason.value)) &&
        (film.value === "" || clip.film === film.value),
    );
    return sort.value ? this.sorted(found, sort.value, order.checked ? -1 : 1) : found;
  }

  /** What was not measured comes last, whichever way the others are sorted. */
  sorted(clips, name, direction) {
    const value = (clip) => clip.values[name];
    return clips.toSorted((a, b) => {
      if (value(a) === null || value(b) === null) return (value(a) === null) - (value(b) === null);
      return direction * (value(a) - value(b));
    });
  }

  refresh() {
    this.found = this.chosen();
    this.grid.replaceChildren();
    this.shown = 0;
    const all = this.clips.length;
    const part = all < this.total ? `, chosen from ${formatNumber(this.total)}` : "";
    this.count.textContent =
      `${formatNumber(this.found.length)} of ${formatNumber(all)} clips shown here${part}`;
    this.grow();
  }

  grow() {
    const next = this.found.slice(this.shown, this.shown + PER_PAGE);
    this.grid.append(...next.map((clip, k) => this.tile(clip, this.shown + k)));
    this.shown += next.length;
    this.more.hidden = this.shown >= this.found.length;
  }

  tile(clip, place) {
    const view = new StripView(clip.id, "");
    const { sort } = this.form.elements;
    const measurement = this.measurements.find(({ name }) => name === sort.value);
    const figure = measurement
      ? `${formatSignificant(clip.values[measurement.name])} ${measurement.unit}`
      : `${formatSignificant(clip.seconds)} s`;
    const why = clip.reasons.map(([, words]) => words);
    const button = element(
      "button.tile",
      {
        type: "button",
        "data-clip": clip.id,
        "aria-label":
          `${clip.film}, ${clip.status}${why.length ? `: ${why.join(", ")}` : ""}. ` +
          "Enter opens it, left and right arrows scrub.",
        onclick: () => this.details.open(this.found, place),
      },
      view.root,
      element(
        "span.tile-line",
        {},
        element(`span.dot.dot-${clip.status.replace(" ", "-")}`, {}),
        element("span.tile-name", {}, clip.film),
        element("span.tile-figure", {}, figure.trim()),
      ),
      element("span.tile-why", {}, this.note(clip, why)),
    );
    scrubByKeys(button, view);
    return element("li", {}, button);
  }

  note(clip, why) {
    if (this.form.elements.status.value === "borderline") return `near ${clip.borderline[0]}`;
    if (why.length > 1) return `${why[0]} +${why.length - 1}`;
    if (why.length) return why[0];
    return clip.caption ?? "";
  }

  /** A clip's picture that can be focused, scrubbed and opened: for sequences and pairs. */
  picture(clip, clips) {
    const view = new StripView(clip.id, "");
    const button = element(
      "button.picture",
      {
        type: "button",
        "aria-label": `${clip.film}. Enter opens it, left and right arrows scrub.`,
        onclick: () => this.details.open(clips, clips.indexOf(clip)),
      },
      view.root,
    );
    scrubByKeys(button, view);
    return button;
  }

  drawSequences() {
    const place = document.getElementById("sequences");
    if (!place) return;
    place.append(...this.sequences.map((sequence) => this.sequence(sequence)));
  }

  /** Frames side by side, so that a shot is as wide as it is long; between shots a cut mark. */
  sequence({ id, split, frames, shots }) {
    const clips = shots.map((shot) => this.byId.get(shot.clip));
    const strip = element(
      "ol.shots",
      {},
      ...shots.map((shot, k) => {
        const pictures = Math.max(
          1,
          Math.round((FRAMES_PER_SEQUENCE * (shot.end - shot.start)) / frames),
        );
        const item = element(
          "li",
          {},
          this.filmStrip(clips[k], clips, pictures, `Shot ${k + 1}: ${shot.caption}`),
          element("span.cut-time", {}, `${(shot.start / PACKED_RATE).toFixed(1)} s`),
          element("p", {}, shot.caption),
        );
        item.style.flexGrow = pictures;
        return item;
      }),
    );
    return element(
      "figure.sequence",
      { "data-sample": id },
      strip,
      element(
        "figcaption",
        {},
        element("strong", {}, clips[0].film),
        ` ${shots.length} shots, ${(frames / PACKED_RATE).toFixed(1)} s, ${split}`,
        element("code", {}, id.slice(0, 12)),
      ),
    );
  }

  filmStrip(clip, clips, count, label) {
    return element(
      "button.picture",
      {
        type: "button",
        "aria-label": label,
        onclick: () => this.details.open(clips, clips.indexOf(clip)),
      },
      ...filmFrames(clip.id, count),
    );
  }

  drawPairs() {
    const place = document.getElementById("pairs");
    if (!place) return;
    place.append(
      ...this.pairs.map(({ train, val, distance }) => {
        const clips = [this.byId.get(train), this.byId.get(val)];
        return element(
          "figure.pair",
          {},
          ...clips.map((clip, k) =>
            element(
              "div",
              {},
              this.picture(clip, clips),
              element("span.side", {}, k ? "val" : "train", element("span", {}, clip.film)),
            ),
          ),
          element("figcaption", {}, `${percentOf(distance, 1)} of the bits differ`),
        );
      }),
    );
  }
}
