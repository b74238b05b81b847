"use strict";
// Pictures of a clip that follow the pointer and the arrow keys. A strip is one picture that holds
// all frames side by side; it is shifted behind a window of one frame.

let stripStore = null;

/** Pictures are parsed when the first is wanted: they are most of the page's bytes. */
function stripOf(clip) {
  stripStore ??= embedded("strip-data");
  return stripStore[clip] ?? null;
}

class StripView {
  /** A window on a clip's strip. `frame` is where it begins. */
  constructor(clip, label) {
    this.strip = stripOf(clip);
    this.place = 0;
    this.mark = element("span.scrub-mark", { "aria-hidden": "true" });
    this.root = element("span.strip", {});
    if (!this.strip) {
      this.root.append(element("span.no-picture", {}, "no picture"));
      return;
    }
    const { frames, width, height, jpeg } = this.strip;
    this.image = element("img", {
      src: `data:image/jpeg;base64,${jpeg}`,
      alt: label,
      width: width * frames,
      height,
      draggable: "false",
      decoding: "async",
    });
    this.window = element("span.window", {}, this.image);
    this.window.style.aspectRatio = `${width} / ${height}`;
    this.window.classList.toggle("tall", width * 9 < height * 16);
    this.image.style.width = `${frames * 100}%`;
    this.root.append(this.window, this.mark);
    this.root.addEventListener("pointermove", (event) => this.follow(event));
    this.root.addEventListener("pointerleave", () => this.show(this.middle));
    this.show(this.middle);
  }

  get middle() {
    return Math.floor(this.strip.frames / 2);
  }

  follow(event) {
    const box = this.root.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    this.show(Math.floor(share * this.strip.frames));
  }

  /** Step by arrow keys. */
  step(by) {
    if (this.strip) this.show(this.place + by);
  }

  show(place) {
    const { frames } = this.strip;
    this.place = Math.min(frames - 1, Math.max(0, place));
    this.image.style.transform = `translateX(-${(100 / frames) * this.place}%)`;
    this.mark.style.left = `${(100 / frames) * this.place}%`;
    this.mark.style.width = `${100 / frames}%`;
    this.root.dataset.frame = this.place;
  }
}

/** Frames spread through a clip, each in a window of its own. */
function filmFrames(clip, count) {
  const strip = stripOf(clip);
  if (!strip) return [element("span.no-picture", {}, "no picture")];
  return Array.from({ length: count }, (_, k) => {
    const place = Math.floor(((k + 0.5) * strip.frames) / count);
    const image = element("img", { src: `data:image/jpeg;base64,${strip.jpeg}`, alt: "" });
    image.style.width = `${strip.frames * 100}%`;
    image.style.transform = `translateX(-${(100 / strip.frames) * place}%)`;
    const frame = element("span.film-frame", {}, image);
    frame.style.aspectRatio = `${strip.width} / ${strip.height}`;
    return frame;
  });
}

/** Left and right arrows scrub; everything else stays the browser's. */
function scrubByKeys(target, view) {
  target.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by && !event.altKey && !event.ctrlKey && !event.metaKey) {
      view.step(by);
      event.preventDefault();
      event.stopPropagation();
    }
  });
}
