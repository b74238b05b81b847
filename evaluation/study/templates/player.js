// One video: it must play to its end once, at its own speed, before it can be rated.

import { ask, say } from "./server.js";

const JUMP = 0.4; // seconds; a stall may skip a frame or two

export class Screen {
  constructor(figure, played) {
    this.figure = figure;
    this.slot = Number(figure.dataset.slot);
    this.video = figure.querySelector("video");
    this.reel = figure.querySelector(".reel span");
    this.whenPlayed = played;
    this.video.addEventListener("timeupdate", () => this.follow());
    this.video.addEventListener("seeking", () => this.keepPlace());
    this.video.addEventListener("ratechange", () => {
      if (this.video.playbackRate !== 1) this.video.playbackRate = 1;
    });
    this.video.addEventListener("ended", () => this.end());
    this.video.addEventListener("error", () => {
      if (this.video.getAttribute("src")) this.fail();
    });
    for (const event of ["play", "pause", "ended"])
      this.video.addEventListener(event, () => this.draw());
    this.video.addEventListener("contextmenu", (event) => event.preventDefault());
    figure.querySelector(".play").addEventListener("click", () => this.toggle());
    this.video.addEventListener("click", () => this.toggle());
    figure.querySelector(".full").addEventListener("click", () => this.enlarge());
  }

  show(task, played) {
    this.task = task;
    this.token = null;
    this.reached = 0;
    this.played = played;
    this.video.src = `/video/${task}/${this.slot}`;
    this.draw();
  }

  get playing() {
    return !this.video.paused && !this.video.ended;
  }

  async toggle() {
    if (this.playing) this.video.pause();
    else await this.play();
  }

  // Ask for a fresh token when the video starts from its beginning; a pause keeps the one it has.
  async play() {
    if (this.starting) return;
    this.starting = true;
    try {
      if (this.video.error) this.video.load();
      if (!this.played && !this.token) {
        this.video.currentTime = 0;
        this.reached = 0;
        this.token = (await ask("/api/play", { task: this.task, slot: this.slot })).play;
      }
      await this.video.play();
    } catch (error) {
      if (error.name !== "AbortError") say(error.message);
    } finally {
      this.starting = false;
    }
  }

  async end() {
    const token = this.token;
    if (this.played || !token) return;
    this.token = null;
    try {
      await ask("/api/played", { play: token });
      this.played = true;
    } catch (error) {
      say(`${error.message} Please play it again.`);
    }
    this.draw();
    if (this.played) this.whenPlayed();
  }

  follow() {
    if (!this.video.seeking) this.reached = Math.max(this.reached, this.video.currentTime);
    this.draw();
  }

  keepPlace() {
    if (!this.played && this.video.currentTime > this.reached + JUMP)
      this.video.currentTime = this.reached;
  }

  fail() {
    this.token = null;
    say("The video could not be loaded. Press play to try again.");
    this.draw();
  }

  async enlarge() {
    const frame = this.figure.querySelector(".frame");
    if (document.fullscreenElement) await document.exitFullscreen();
    else if (frame.requestFullscreen) await frame.requestFullscreen();
    else this.video.webkitEnterFullscreen?.(); // phones that enlarge only the video itself
  }

  draw() {
    const length = this.video.duration || 0;
    const share = length ? Math.min(1, this.video.currentTime / length) : 0;
    this.reel.style.transform = `scaleX(${share})`;
    this.figure.classList.toggle("playing", this.playing);
    this.figure.classList.toggle("played", this.played);
  }
}
