"use strict";
// All videos of a prompt as one: a single clock, that of the longest video, which the others follow.
// Videos of one prompt at a time are in the page, so that memory does not grow with the suite.

const FRAME = 1 / 24;
const APART = 1.5 * FRAME; // how far a video may be from the clock before it is put right
const PATIENCE = 250; // ms between two corrections of one video, so that seeks cannot chase each other

class Stage {
  constructor(root, data) {
    this.root = root;
    this.data = data;
    this.takes = [];
    this.playing = false;
    this.seed = null;
    this.build();
    root.addEventListener("keydown", (event) => this.key(event));
    this.show(0);
  }

  build() {
    const { prompts } = this.data;
    this.choice = element(
      "select",
      { "aria-label": "Prompt", onchange: () => this.show(Number(this.choice.value)) },
      ...prompts.map((prompt, number) =>
        element("option", { value: number }, `${number + 1}. ${prompt.text.slice(0, 120)}`),
      ),
    );
    const button = (words, act, label) =>
      element("button", { type: "button", onclick: act, "aria-label": label ?? words }, words);
    this.words = element("div.stage-words");
    this.grid = element("div.takes");
    this.toggle = button("Play", () => this.playOrPause());
    this.toggle.classList.add("main");
    this.range = element("input", {
      type: "range",
      min: 0,
      max: 0,
      step: 1,
      value: 0,
      "aria-label": "Time",
      oninput: () => this.seekFrame(Number(this.range.value)),
    });
    this.time = element("span.stage-time");
    this.speed = element(
      "select",
      { "aria-label": "Speed", onchange: () => this.setSpeed() },
      ...[0.25, 0.5, 1, 2].map((rate) =>
        element("option", { value: rate, selected: rate === 1 }, `${rate}×`),
      ),
    );
    this.seeds = element("select", {
      "aria-label": "Seed",
      onchange: () => {
        this.seed = Number(this.seeds.value);
        this.fill();
      },
    });
    this.root.replaceChildren(
      element(
        "div.stage-top",
        {},
        button("‹", () => this.show(this.number - 1), "Previous prompt"),
        this.choice,
        button("›", () => this.show(this.number + 1), "Next prompt"),
        this.seeds,
      ),
      this.words,
      element("div.stage-controls", {}, this.toggle, this.range, this.time, this.speed),
      this.grid,
    );
  }

  get prompt() {
    return this.data.prompts[this.number];
  }

  /** Shows a prompt, round and round at both ends. */
  show(number, chosen = null) {
    const count = this.data.prompts.length;
    if (!count) return;
    this.number = ((number % count) + count) % count;
    this.choice.value = this.number;
    this.chosen = chosen;
    const seeds = [...new Set(this.prompt.videos.map((video) => video.seed))];
    if (chosen) this.seed = chosen.seed;
    if (!seeds.includes(this.seed)) this.seed = seeds[0] ?? null;
    this.seeds.replaceChildren(
      ...seeds.map((seed) =>
        element("option", { value: seed, selected: seed === this.seed }, `seed ${seed}`),
      ),
    );
    this.seeds.hidden = seeds.length < 2;
    const { text, licence, picture } = this.prompt;
    this.words.replaceChildren(
      ...(picture
        ? [
            element(
              "figure",
              {},
              element("img", { src: picture, alt: "The given first frame" }),
              element("figcaption", {}, "given"),
            ),
          ]
        : []),
      element(
        "div",
        {},
        element("blockquote", {}, text),
        element("p.note", {}, `${this.prompt.id} · ${licence}`),
      ),
    );
    this.fill();
  }

  /** Puts the videos of the prompt and seed into the page, and those before them out of it. */
  fill() {
    this.pause();
    for (const take of this.takes) {
      take.video.removeAttribute("src");
      take.video.load();
    }
    this.takes = this.prompt.videos
      .filter((video) => video.seed === this.seed)
      .map((about) => this.take(about));
    this.grid.replaceChildren(...this.takes.map((take) => take.figure));
    if (!this.takes.length) this.grid.append(element("p.empty", {}, "There is no video of it."));
    this.frames = Math.max(1, ...this.takes.map(({ about }) => this.framesOf(about)));
    this.range.max = this.frames - 1;
    this.setSpeed();
    this.seekFrame(0);
  }

  /** Length in frames of 1/24 s, whatever the video's own rate. */
  framesOf(about) {
    return Math.round((about.frames / about.rate) * 24);
  }

  take(about) {
    const label = this.data.entries[about.entry];
    const video = element("video", {
      src: about.src,
      playsinline: true,
      preload: "auto",
      disablepictureinpicture: true,
      "aria-label": label,
      tabindex: "-1",
    });
    video.muted = true;
    const caption = element(
      "figcaption",
      {},
      element(`span.chip.c${about.entry % 10}`, {}, String(about.entry + 1)),
      ` ${label}`,
    );
    const rows = Object.entries(about.percents).map(([name, percent]) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, this.data.measures[name] ?? name),
        element("td", {}, percent.toFixed(2)),
      ),
    );
    const figure = element(
      "figure.take",
      { "data-entry": about.entry },
      video,
      caption,
      element("table", {}, element("tbody", {}, ...rows)),
    );
    const marked = this.chosen?.entry === about.entry && this.chosen?.seed === about.seed;
    figure.classList.toggle("chosen", marked);
    video.addEventListener("error", () => {
      if (video.getAttribute("src")) {
        caption.append(element("p.broken", {}, "This video cannot be played here."));
      }
    });
    video.addEventListener("loadeddata", () => {
      if (!this.playing) this.place(take);
    });
    const take = { about, video, figure, corrected: 0 };
    return take;
  }

  /** The take whose clock counts: the longest that can be played. */
  get leader() {
    const playable = this.takes.filter(({ video }) => video.readyState >= 1);
    return playable.reduce(
      (best, take) => (!best || take.video.duration > best.video.duration ? take : best),
      null,
    );
  }

  seekFrame(frame) {
    this.frame = Math.min(this.frames - 1, Math.max(0, frame));
    for (const take of this.takes) this.place(take);
    this.tell();
  }

  /** Puts a video into the middle of the frame that is shown; a shorter one stays at its end. */
  place({ about, video }) {
    const last = this.framesOf(about) - 1;
    video.currentTime = (Math.min(this.frame, last) + 0.5) * FRAME;
  }

  tell() {
    this.range.value = this.frame;
    const written = `${(this.frame * FRAME).toFixed(2)} s · frame ${this.frame}`;
    this.time.textContent = written;
    this.range.setAttribute("aria-valuetext", written);
    this.root.dataset.frame = this.frame;
    this.root.dataset.playing = this.playing;
  }

  setSpeed() {
    for (const { video } of this.takes) video.playbackRate = Number(this.speed.value);
  }

  playOrPause() {
    if (this.playing) this.pause();
    else this.play();
  }

  async play() {
    if (!this.takes.length) return;
    if (this.frame >= this.frames - 1) this.seekFrame(0);
    this.playing = true;
    this.toggle.textContent = "Pause";
    this.tell();
    await Promise.allSettled(this.takes.map(({ video }) => video.play()));
    if (this.playing) requestAnimationFrame(() => this.tick());
  }

  pause() {
    this.playing = false;
    this.toggle.textContent = "Play";
    for (const { video } of this.takes) video.pause();
    if (this.frame !== undefined) this.seekFrame(this.frame);
  }

  tick() {
    if (!this.playing) return;
    const { leader } = this;
    if (!leader) {
      this.pause();
      return;
    }
    const now = leader.video.currentTime;
    this.frame = Math.min(this.frames - 1, Math.floor(now / FRAME));
    this.tell();
    for (const take of this.takes) if (take !== leader) this.follow(take, now);
    if (leader.video.ended) this.pause();
    else requestAnimationFrame(() => this.tick());
  }

  follow(take, now) {
    const { video } = take;
    const stamp = performance.now();
    if (video.ended || video.seeking || now >= video.duration) return;
    if (Math.abs(video.currentTime - now) > APART && stamp - take.corrected > PATIENCE) {
      take.corrected = stamp;
      video.currentTime = now;
    }
    if (video.paused) video.play().catch(() => {}); // paused again at once: the next tick asks anew
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const { tagName } = event.target;
    // Buttons, lists and the slider have keys of their own.
    if (tagName === "SELECT" || (tagName === "BUTTON" && event.key === " ")) return;
    const own = tagName === "INPUT" && event.key !== " ";
    const acts = {
      " ": () => this.playOrPause(),
      ArrowLeft: () => this.step(-1),
      ArrowRight: () => this.step(1),
      Home: () => this.seekFrame(0),
      End: () => this.seekFrame(this.frames - 1),
      n: () => this.show(this.number + 1),
      p: () => this.show(this.number - 1),
    };
    const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act || (own && event.key.length > 1)) return;
    act();
    event.preventDefault();
  }

  step(by) {
    this.pause();
    this.seekFrame(this.frame + by);
  }
}
