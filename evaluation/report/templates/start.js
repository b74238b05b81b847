"use strict";

function start() {
  followSections();
  const data = embedded("stage-data");
  const stage = new Stage(document.getElementById("stage"), data);
  const places = new Map(data.prompts.map((prompt, number) => [prompt.id, number]));
  for (const button of document.querySelectorAll(".jump")) {
    const { prompt, entry, seed } = button.dataset;
    button.addEventListener("click", () => {
      stage.show(places.get(prompt), { entry: Number(entry), seed: Number(seed) });
      stage.root.scrollIntoView({ block: "nearest" });
      stage.root.focus({ preventScroll: true });
    });
  }
  document.documentElement.dataset.ready = "true";
}

start();
