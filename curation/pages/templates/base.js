"use strict";
// What the other scripts share: reading what is embedded, building elements, writing numbers.
// Text from outside reaches the page through textContent alone, never as markup.

const NARROW_SPACE = "\u202f";

function embedded(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

/** Bytes in base64 -> a typed array. Written by a little-endian machine for little-endian ones. */
function typed(base64, Kind) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
  return new Kind(bytes.buffer);
}

/** An element: element("p.note", {title: "…"}, "text", child, …). */
function element(kind, attributes = {}, ...children) {
  const [tag, ...classes] = kind.split(".");
  const made = document.createElement(tag);
  if (classes.length) made.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function drawing(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function formatNumber(value) {
  return Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, NARROW_SPACE);
}

function formatDuration(hours) {
  const seconds = hours * 3600;
  if (seconds < 99.5) return `${seconds.toFixed(0)}${NARROW_SPACE}s`;
  if (seconds < 5970) return `${(seconds / 60).toFixed(1)}${NARROW_SPACE}min`;
  if (hours < 999.5) return `${hours.toFixed(1)}${NARROW_SPACE}h`;
  return `${formatNumber(hours)}${NARROW_SPACE}h`;
}

function formatSignificant(value, digits = 3) {
  if (value === null || !Number.isFinite(value)) return "–";
  if (value !== 0 && (Math.abs(value) < 1e-4 || Math.abs(value) >= 1e6)) {
    return value.toExponential(2);
  }
  return String(Number(value.toPrecision(digits)));
}

function percentOf(part, whole) {
  const share = whole ? (100 * part) / whole : 0;
  return `${share.toFixed(share > 0 && share < 9.95 ? 1 : 0)}${NARROW_SPACE}%`;
}

/** Put text on the clipboard, also where a file: page is given no clipboard of its own. */
async function copyText(text, source) {
  try {
    await navigator.clipboard.writeText(text);
  } catch (refused) {
    const range = document.createRange();
    range.selectNodeContents(source);
    const selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    document.execCommand("copy");
  }
}

/** Acts once, when an element comes close to what is shown. */
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
