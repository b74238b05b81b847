// One task after the other: show it, let it play, take the answer, until there is none left.

import { Screen } from "./player.js";
import { Scales } from "./scales.js";
import { ask, say } from "./server.js";

const find = (selector) => document.querySelector(selector);
const work = find("#work");
const form = find("#scales");
const send = find("#send");
const hint = find("#hint");
const screens = [...document.querySelectorAll(".screen")].map((one) => new Screen(one, ready));
const scales = new Scales(form, ready);
let task = null;
let sending = false;

function ready() {
  const unseen = screens.filter((screen) => !screen.played).length;
  const missing = scales.missing;
  const opened = unseen === 0 && form.querySelector("fieldset").disabled;
  scales.open(unseen === 0);
  send.disabled = unseen > 0 || missing > 0 || sending;
  hint.textContent = unseen
    ? screens.length > 1
      ? "Watch both to the end first."
      : "Watch it to the end first."
    : missing
      ? `${missing} left to answer.`
      : "";
  if (opened && !document.fullscreenElement) scales.focus();
}

function only(shown) {
  for (const part of [work, find("#note"), find("#thanks")]) part.hidden = part !== shown;
}

function progress(state) {
  const bar = find(".progress");
  bar.setAttribute("aria-valuemax", state.total);
  bar.setAttribute("aria-valuenow", state.done);
  bar.firstElementChild.style.transform = `scaleX(${state.done / state.total})`;
  find(".count").textContent = state.finished
    ? `All ${state.total} answered`
    : `${state.done + 1} of ${state.total}`;
}

async function next() {
  const state = await ask("/api/task");
  progress(state);
  if (state.finished) {
    only(find("#thanks"));
    document.documentElement.dataset.task = "finished";
    return;
  }
  task = state.task;
  find("#prompt").textContent = state.prompt;
  find(".practice").hidden = !state.practice;
  scales.open(false);
  scales.show(task);
  for (const screen of screens) screen.show(task, state.played.includes(screen.slot));
  only(work);
  window.scrollTo({ top: 0 });
  ready();
  // Of two videos, the space bar plays both: neither button may have it to itself.
  if (screens.length > 1) document.activeElement?.blur();
  else if (!state.played.length) find(".play").focus({ preventScroll: true });
  document.documentElement.dataset.task = String(task);
}

async function answer() {
  if (send.disabled) return;
  sending = true;
  ready();
  try {
    const { note } = await ask("/api/answer", { task, scores: scales.scores });
    scales.forget();
    for (const screen of screens) screen.video.pause();
    if (note) explain(note);
    else await next();
  } catch (error) {
    say(error.message);
    if (error.status === 409) await next();
  } finally {
    sending = false;
    if (!work.hidden) ready();
  }
}

function explain(note) {
  find("#note blockquote").textContent = note;
  only(find("#note"));
  find("#note button").focus();
}

function playAll() {
  const playing = screens.some((screen) => screen.playing);
  for (const screen of screens) {
    if (playing) screen.video.pause();
    else if (!screen.played || screens.every((one) => one.played)) screen.play();
  }
}

function onKey(event) {
  if (work.hidden || event.ctrlKey || event.metaKey || event.altKey) return;
  const onButton = event.target.closest("button") !== null;
  if (event.key === " " && !onButton) playAll();
  else if (event.key === "Enter" && !onButton) answer();
  else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
    scales.stand(scales.place + (event.key === "ArrowUp" ? -1 : 1));
    scales.focus();
  } else if (!/^[1-9]$/.test(event.key) || !scales.choose(Number(event.key))) return;
  event.preventDefault();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  answer();
});
find("#note button").addEventListener("click", () => start());
document.addEventListener("keydown", onKey);

async function start() {
  try {
    await next();
  } catch (error) {
    only(null);
    say(error.message);
  }
}

start();
