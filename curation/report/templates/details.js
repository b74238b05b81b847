"use strict";
// All that is known of one clip, in a dialog.

class Details {
  constructor(gallery) {
    this.gallery = gallery;
    this.dialog = document.getElementById("details");
    this.body = document.getElementById("details-body");
    this.thresholds = new Map(embedded("threshold-data").map((entry) => [entry.name, entry]));
    this.dialog.addEventListener("keydown", (event) => this.key(event));
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
    document.getElementById("details-close").addEventListener("click", () => this.dialog.close());
    document.getElementById("details-before").addEventListener("click", () => this.move(-1));
    document.getElementById("details-after").addEventListener("click", () => this.move(1));
  }

  /** Open a clip; the clips around it can be paged through. */
  open(clips, place) {
    this.clips = clips;
    this.place = place;
    this.draw();
    if (!this.dialog.open) this.dialog.showModal();
    this.body.focus({ preventScroll: true });
    this.dialog.scrollTop = 0;
  }

  move(by) {
    const next = this.place + by;
    if (next >= 0 && next < this.clips.length) this.open(this.clips, next);
  }

  key(event) {
    const by = { PageUp: -1, PageDown: 1 }[event.key];
    if (by) {
      this.move(by);
      event.preventDefault();
    } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      this.view.step(event.key === "ArrowLeft" ? -1 : 1);
      event.preventDefault();
    }
  }

  draw() {
    const clip = this.clips[this.place];
    this.view = new StripView(clip.id, `Frames of ${clip.film}`);
    document.getElementById("details-title").textContent = clip.film;
    document.getElementById("details-place").textContent =
      `${this.place + 1} of ${this.clips.length}`;
    document.getElementById("details-before").disabled = this.place === 0;
    document.getElementById("details-after").disabled = this.place === this.clips.length - 1;
    this.body.replaceChildren(
      element("div.details-picture", {}, this.view.root, this.sheet(clip)),
      element("div.details-words", {}, this.verdict(clip), this.words(clip), this.facts(clip)),
      this.table(clip),
    );
  }

  /** All frames at once, beneath the large one. */
  sheet(clip) {
    const strip = stripOf(clip.id);
    if (!strip) return null;
    return element("img.sheet", {
      src: `data:image/jpeg;base64,${strip.jpeg}`,
      alt: `${strip.frames} frames through the clip`,
    });
  }

  verdict(clip) {
    return element(
      "p.details-verdict",
      {},
      element(`span.status.status-${clip.status.replace(" ", "-")}`, {}, clip.status),
      ...clip.reasons.map(([, words]) => element("span.reason", {}, words)),
      ...clip.borderline.map((limit) => element("span.reason.border", {}, `near ${limit}`)),
    );
  }

  words(clip) {
    if (clip.caption === null) {
      return element("p.caption.none", {}, "No caption: only clips that the policy keeps get one.");
    }
    return element(
      "blockquote.caption",
      {},
      clip.caption,
      element("cite", {}, `captioner: ${clip.captioner}`),
    );
  }

  facts(clip) {
    const facts = [
      ["Film", clip.uri],
      ["Shot", `${clip.shot + 1}, frames ${clip.span[0]}–${clip.span[1] - 1}`],
      ["Time", `${formatSignificant(clip.start, 4)} s, for ${formatSignificant(clip.seconds)} s`],
      ["Packed", `${clip.frames} frames at 24 fps`],
      ["Picture", `${clip.size[0]} × ${clip.size[1]}`],
      ["Licence", clip.licence ?? "not stated"],
      ["Clip", clip.id],
    ];
    for (const sample of clip.samples) {
      facts.push([
        sample.kind === "multi" ? "In a sequence" : "Sample",
        `${sample.id} in ${sample.shard} (${sample.split})`,
      ]);
    }
    return element(
      "dl.facts",
      {},
      ...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]),
    );
  }

  table(clip) {
    const broken = new Set(clip.reasons.map(([code]) => code.replace(/_(low|high|missing)$/, "")));
    return element(
      "table.values",
      {},
      element("caption", {}, "Measurements"),
      element(
        "thead",
        {},
        element(
          "tr",
          {},
          ...["Measurement", "Value", "Allowed"].map((name) =>
            element("th", { scope: "col" }, name),
          ),
        ),
      ),
      element(
        "tbody",
        {},
        ...this.gallery.measurements.map((measurement) =>
          this.row(clip, measurement, broken.has(measurement.name)),
        ),
      ),
    );
  }

  row(clip, measurement, broken) {
    const value = clip.values[measurement.name];
    return element(
      "tr",
      broken ? { class: "broken" } : {},
      element("th", { scope: "row" }, measurement.label),
      element(
        "td",
        {},
        value === null ? "not measured" : formatSignificant(value, 4),
        element("span.unit", {}, value === null ? "" : ` ${measurement.unit}`),
      ),
      element("td", {}, this.allowed(measurement.name), broken ? " ✗" : ""),
    );
  }

  allowed(name) {
    const { min, max } = this.thresholds.get(name) ?? { min: null, max: null };
    if (min === null && max === null) return "";
    if (min === null) return `≤ ${max}`;
    if (max === null) return `≥ ${min}`;
    return `${min} – ${max}`;
  }
}
