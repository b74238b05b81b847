"use strict";
// Order matters for the first impression: what can be moved first, pictures when they come close.

function whenNear(target, act) {
  const observer = new IntersectionObserver(
    (entries) => {
      if (entries.some((entry) => entry.isIntersecting)) {
        observer.disconnect();
        act();
      }
    },
    { rootMargin: "800px" },
  );
  observer.observe(target);
}

/** Marks the section that is being read in the navigation. */
function followSections() {
  const links = new Map(
    [...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]),
  );
  const observer = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        const link = links.get(entry.target.id);
        if (entry.isIntersecting && link) {
          for (const other of links.values()) other.removeAttribute("aria-current");
          link.setAttribute("aria-current", "true");
        }
      }
    },
    { rootMargin: "-20% 0px -70% 0px" },
  );
  for (const section of document.querySelectorAll("main > section[id]")) observer.observe(section);
}

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
