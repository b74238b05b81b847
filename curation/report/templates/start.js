"use strict";
// Order matters for the first impression: what can be moved first, pictures when they come close.

function start() {
  document.documentElement.classList.add("scripted");
  startWhatIf();
  followSections();
  let gallery = null;
  const open = () => {
    if (gallery) return;
    gallery = new Gallery(embedded("gallery-data"));
    gallery.drawSequences();
    gallery.drawPairs();
    document.documentElement.dataset.gallery = "drawn";
  };
  for (const id of ["clips", "sequences-part", "leakage"]) {
    const section = document.getElementById(id);
    if (section) whenNear(section, open);
  }
  window.addEventListener("beforeprint", open);
  document.documentElement.dataset.ready = "true";
}

start();
