// The dialog in which a person chooses an intent: the model's guesses first, then all others; typing filters.

import { $, bar, h, percent } from "./dom.js";
import { title } from "./inbox.js";

const ASIDE_NAME = "No intent fits: set aside";

let options = []; // what is listed: {label, permille}
let active = 0;
let chosen = () => {};
let row;
let labels = [];

/** Opens the dialog for a row; `choose` is called with a label, or with null to set the row aside. */
export function openPicker(forRow, allLabels, choose) {
  [row, labels, chosen] = [forRow, allLabels, choose];
  $("picker-text").textContent = row.text;
  $("picker-input").value = "";
  list();
  $("picker").showModal();
  $("picker-input").focus();
}

/** Sets up its listeners, once. */
export function initPicker() {
  $("picker-input").addEventListener("input", list);
  $("picker-input").addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && options.length) {
      active = (active + step + options.length) % options.length;
      mark();
    } else if (event.key === "Enter" && !event.isComposing) {
      if (options.length && !event.repeat) take(active); // the Enter that opened it may still be held down
    } else {
      return;
    }
    event.preventDefault();
  });
  $("picker").addEventListener("click", (event) => {
    if (event.target === $("picker")) $("picker").close(); // beside it
  });
}

function list() {
  const words = $("picker-input").value.toLowerCase().split(/[\s_]+/).filter(Boolean);
  const guessed = new Map(row.top);
  const now = typeof row.person === "string" && !guessed.has(row.person) ? [row.person] : [];
  const others = labels.filter((label) => !guessed.has(label) && !now.includes(label));
  const all = [...guessed.keys(), ...now, ...others.sort((a, b) => title(a).localeCompare(title(b))), null];
  const matches = (label) => {
    const name = label === null ? ASIDE_NAME.toLowerCase() : `${title(label)} ${label}`.toLowerCase();
    return words.every((word) => name.includes(word));
  };
  options = all.filter(matches).map((label) => ({ label, permille: guessed.get(label) }));
  active = 0;
  $("picker-list").replaceChildren(...options.map(show));
  if (!options.length) $("picker-list").append(h("li", { class: "none", role: "presentation" }, "No intent has these words in its name."));
  mark();
}

function show({ label, permille }, at) {
  const name = label === null ? ASIDE_NAME : title(label);
  const guess = permille === undefined ? [] : [bar(permille), h("span", { class: "percent" }, percent(permille))];
  const properties = { id: `option-${at}`, role: "option", class: label === null ? "aside" : "", title: label ?? "", click: () => take(at) };
  return h("li", properties, h("span", { class: "option-name", dir: "auto" }, name), ...guess);
}

function mark() {
  for (const [at, option] of [...$("picker-list").querySelectorAll("[role=option]")].entries()) {
    option.setAttribute("aria-selected", at === active);
    if (at === active) option.scrollIntoView({ block: "nearest" });
  }
  if (options.length) $("picker-input").setAttribute("aria-activedescendant", `option-${active}`);
  else $("picker-input").removeAttribute("aria-activedescendant");
}

function take(at) {
  $("picker").close();
  chosen(options[at].label);
}
