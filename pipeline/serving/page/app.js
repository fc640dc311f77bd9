// Wires the page: intake, sorting, keys, files, and what survives a reload.

import { $, announce, download, h, number } from "./dom.js";
import { wholeRecords } from "./csv.js";
import { Inbox, LANE, MAX_ROWS, groupOf, readInput, title } from "./inbox.js";
import { initPicker, openPicker } from "./picker.js";
import { OtherModel, Refusal, sortInbox } from "./service.js";
import { View } from "./view.js";

const EXAMPLE = [
  "I moved house last week and my letters still go to the old flat.",
  "The machine swallowed my card and gave me nothing but a receipt.",
  "Can your app sing my cat to sleep?",
].join("\n");
const DRAW_MS = 400; // at least, between two drawings while answers come in
const SAVE_MS = 500; // at least, between two savings
const SHARE = 0.1; // of the time, at most, for drawing, and as much for saving
const LARGEST_FILE = 50_000_000; // bytes
const PREVIEW = 3;
const LONGEST_PASTE = 50_000; // characters; a browser needs a minute to put ten thousand lines into a text field

const KEYS_OFF = "keys-off"; // the storage has it where a person wants none
const storage = openStorage();
let inbox = Inbox.load(storage);
let sorting = null; // the AbortController of a run
let loaded = null; // a file's text, or a paste too long for the field
let isCut = false; // of a file larger than LARGEST_FILE, the rest
let override = {}; // what a person said about how to read the input
let isOther = false; // the model, than the one that has sorted so far
let saver = 0;
let saveMs = SAVE_MS;
const view = new View({ pick, decide });

// ---- intake

/** Reads the input anew; `reading` is what a person says about how, and holds until there is another input. */
function reread(reading = override) {
  override = reading;
  const text = loaded ?? $("paste").value;
  const input = readInput(text, override);
  $("reading").hidden = !text.trim();
  $("sort").disabled = !input.rows.length;
  for (const radio of document.getElementsByName("format")) radio.checked = (radio.value === "csv") === input.isCsv;
  $("header-field").hidden = !input.isCsv;
  $("has-header").checked = input.hasHeader;
  $("column-field").hidden = input.columns.length < 2;
  $("column").replaceChildren(...input.columns.map((name, at) => h("option", { value: at, selected: at === input.column }, name)));
  $("problem").hidden = !input.problem;
  $("problem").textContent = input.problem;
  $("tally").textContent = tally(input);
  $("sort").textContent = input.rows.length ? `Sort ${queries(input.rows.length)}` : "Sort";
  $("preview").replaceChildren(...input.rows.slice(0, PREVIEW).map((row) => h("li", { dir: "auto" }, row.text)));
  return input;
}

function tally({ rows, empty, left }) {
  const parts = [queries(rows.length)];
  if (empty) parts.push(`${number(empty)} without a text left out`);
  if (left) parts.push(`the first ${number(MAX_ROWS)}; ${number(left)} more are too many for a page: use python -m pipeline.score`);
  if (isCut) parts.push("the beginning of a file of more than 50 MB: use python -m pipeline.score for all of it");
  return parts.join("; ") + ".";
}

const queries = (count) => (count === 1 ? "1 query" : `${number(count)} queries`);

async function takeFile(file) {
  if (!file) return;
  let bytes;
  try {
    bytes = new Uint8Array(await file.slice(0, LARGEST_FILE).arrayBuffer());
  } catch (error) {
    $("reading").hidden = $("problem").hidden = false;
    $("problem").textContent = `${file.name} cannot be read: ${error.message}`;
    return;
  }
  const wide = (bytes[0] === 0xff && bytes[1] === 0xfe) ? "utf-16le" : (bytes[0] === 0xfe && bytes[1] === 0xff) ? "utf-16be" : "";
  let text;
  try {
    text = new TextDecoder(wide || "utf-8", { fatal: true }).decode(bytes, { stream: bytes.length === LARGEST_FILE });
  } catch {
    text = new TextDecoder("windows-1252").decode(bytes); // what spreadsheets of old write
  }
  const isTable = /\.(csv|tsv)$/i.test(file.name);
  const tooLarge = file.size > LARGEST_FILE;
  if (tooLarge) text = isTable ? wholeRecords(text, text.length - 1) : text.slice(0, text.lastIndexOf("\n") + 1); // less the row that is cut
  load(file.name, text, isTable ? { isCsv: true } : {}, tooLarge);
}

function load(name, text, reading = {}, cut = false) {
  [loaded, isCut] = [text, cut];
  $("loaded-name").textContent = name;
  $("loaded").hidden = false;
  $("paste").hidden = $("drop-foot").hidden = true;
  reread(reading);
  $("sort").focus();
}

function unload() {
  [loaded, isCut] = [null, false];
  $("paste").value = "";
  $("loaded").hidden = true;
  $("paste").hidden = $("drop-foot").hidden = false;
  reread({});
  $("paste").focus();
}

function takePaste(event) {
  const text = event.clipboardData.getData("text/plain");
  const { value, selectionStart, selectionEnd } = $("paste");
  if (event.clipboardData.files.length) takeFile(event.clipboardData.files[0]);
  else if (text.length > LONGEST_PASTE) load("Pasted text", value.slice(0, selectionStart) + text + value.slice(selectionEnd));
  else return;
  event.preventDefault();
}

function begin() {
  const input = reread();
  if (!input.rows.length) return;
  const restColumns = input.columns.filter((_, at) => at !== input.column);
  inbox = new Inbox({ rows: input.rows, restColumns });
  view.reset();
  show();
  sort();
}

// ---- sorting

async function sort() {
  sorting?.abort();
  const mine = (sorting = new AbortController());
  $("error").hidden = true;
  let due = 0;
  const heard = () => {
    progress();
    const began = performance.now();
    if (began >= due) {
      view.draw(inbox);
      const ended = performance.now();
      due = ended + Math.max(DRAW_MS, (ended - began) / SHARE);
    }
    save();
  };
  const waits = (seconds) => progress(`The service is busy. Next try in ${Math.ceil(seconds)} s.`);
  progress();
  announce(`Sorting ${queries(inbox.pending)}.`);
  try {
    await sortInbox(inbox, { key: $("key").value, signal: mine.signal, heard, waits });
    announce(`Sorted ${queries(inbox.rows.length)}. ${lane()}`);
  } catch (error) {
    if (!mine.signal.aborted) complain(error);
  }
  if (sorting !== mine) return;
  sorting = null;
  show();
  save();
}

function progress(waiting) {
  const [total, done] = [inbox.rows.length, inbox.rows.length - inbox.pending];
  const before = $("progress-bar").value;
  $("progress").hidden = done === total && !sorting;
  $("progress-bar").max = total || 1;
  $("progress-bar").value = done;
  $("progress-text").textContent = waiting ?? `${sorting ? "Sorted" : "Stopped at"} ${number(done)} of ${number(total)}`;
  $("stop").textContent = sorting ? "Stop" : "Resume";
  $("stop").hidden = !$("error").hidden; // then there is "Try again"
  if (sorting && Math.floor((4 * done) / total) > Math.floor((4 * before) / total)) announce(`Sorted ${number(done)} of ${number(total)}.`);
}

function complain(error) {
  if (!(error instanceof Refusal)) console.error(error); // a defect of ours
  $("error-text").textContent = error instanceof Refusal ? error.message : `Something went wrong in this page: ${error.message}`;
  isOther = error instanceof OtherModel;
  $("retry").textContent = isOther ? "Sort again" : "Try again";
  $("key-field").hidden = ![401, 403].includes(error.status);
  $("error").hidden = false;
  const isElsewhere = document.activeElement.closest(".top, .columns"); // what a person is typing, or about to press, stays theirs
  if (!isElsewhere) $($("key-field").hidden ? "retry" : "key").focus();
}

function retry() {
  if (isOther) {
    isOther = false;
    inbox.forgetAnswers();
    show();
  }
  sort();
}

// ---- deciding

function pick(index) {
  openPicker(inbox.rows[index], inbox.labels, (label) => decide(index, label));
}

function decide(index, label) {
  const [before, next] = [groupOf(inbox.rows[index]), view.neighbour(index)];
  inbox.decide(index, label);
  const stays = groupOf(inbox.rows[index]) === before;
  changed(stays ? index : next);
  announce(`${label === null ? "Set aside." : `${title(label)}.`} ${lane()}`);
}

function undo() {
  const index = inbox.undo();
  if (index < 0) return announce("Nothing to undo.");
  changed(index);
  announce(`Undone. ${lane()}`);
}

function changed(index) {
  view.current = index; // before it is drawn: else the row just decided would be shown where it is now
  view.draw(inbox);
  view.focus(index);
  counts();
  save();
}

const lane = () => `${queries(inbox.groups((row) => groupOf(row) === LANE).get(LANE)?.length ?? 0)} left for a person.`;

// ---- the whole page

function show() {
  const some = inbox.rows.length > 0;
  $("intake").hidden = some;
  $("work").hidden = !some;
  for (const id of ["export-all", "export-training", "clear"]) $(id).hidden = !some;
  if (some) view.draw(inbox);
  if (some) view.mark();
  progress();
  counts();
}

function counts() {
  $("reviewed").textContent = number(inbox.reviewed);
  $("export-training").disabled = !inbox.reviewed;
  $("undo").hidden = !inbox.done.length;
}

function clear() {
  if (!confirm("Clear this inbox and your decisions? This cannot be undone.")) return;
  sorting?.abort();
  sorting = null;
  stopSaving();
  inbox = new Inbox();
  Inbox.forget(storage);
  $("error").hidden = $("storage-notice").hidden = true;
  view.reset();
  show();
  unload();
}

function openStorage() {
  try {
    return sessionStorage;
  } catch {
    return null; // forbidden; saving then fails, and the page says so
  }
}

/** Saves soon, however often it is called: while a sort is quick, it is called all the time. */
function save() {
  saver ||= setTimeout(saveNow, saveMs);
}

function stopSaving() {
  clearTimeout(saver);
  saver = 0;
}

function saveNow() {
  stopSaving();
  const began = performance.now();
  if (inbox.rows.length) $("storage-notice").hidden = inbox.save(storage);
  saveMs = Math.max(SAVE_MS, (performance.now() - began) / SHARE);
}

// ---- keys

const KEYS = {
  j: () => view.step(1),
  k: () => view.step(-1),
  ArrowDown: () => view.step(1),
  ArrowUp: () => view.step(-1),
  Enter: () => view.current >= 0 && pick(view.current),
  x: () => view.current >= 0 && decide(view.current, null),
  u: undo,
  "/": () => $("search").focus(),
};

const REPEATED = new Set(["j", "k", "ArrowDown", "ArrowUp", "Tab", "PageDown", "PageUp", " "]);

function search(words) {
  $("search").value = words;
  view.query = words.trim();
  view.draw(inbox);
}

function keepKeys() {
  try {
    if ($("keys-on").checked) storage.removeItem(KEYS_OFF);
    else storage.setItem(KEYS_OFF, "yes");
  } catch {
    // no storage: it holds until the page is left
  }
}

function onKey(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key.length === 1 && !$("keys-on").checked) return; // who speaks to a computer may press them unawares (WCAG 2.1.4)
  const at = document.activeElement;
  if (at.matches("textarea, select, input:not([type=radio], [type=checkbox])")) {
    if (event.key === "Escape" && at === $("search")) {
      search("");
      at.blur();
      event.preventDefault();
    }
    return;
  }
  if (event.repeat && !REPEATED.has(event.key)) return event.preventDefault(); // a key held down decides one row
  if (event.key === "?") {
    $("help").showModal();
  } else if ($("work").hidden) {
    return;
  } else if (/^[1-5]$/.test(event.key) && view.current >= 0) {
    const guess = inbox.rows[view.current].top[event.key - 1];
    if (guess) decide(view.current, guess[0]);
  } else if (KEYS[event.key] && !(event.key === "Enter" && at !== document.body)) {
    KEYS[event.key](); // Enter on a button is the button's own
  } else {
    return;
  }
  event.preventDefault();
}

function wire() {
  const on = (id, event, listener) => $(id).addEventListener(event, listener);
  on("paste", "input", () => reread({}));
  on("paste", "paste", takePaste);
  on("unload", "click", unload);
  on("file", "change", (event) => takeFile(event.target.files[0]).then(() => (event.target.value = "")));
  on("example", "click", () => {
    $("paste").value = EXAMPLE;
    reread({});
    begin();
  });
  for (const radio of document.getElementsByName("format")) {
    radio.addEventListener("change", () => reread({ isCsv: radio.value === "csv" }));
  }
  on("has-header", "change", (event) => reread({ isCsv: true, hasHeader: event.target.checked }));
  on("column", "change", (event) => reread({ isCsv: true, hasHeader: $("has-header").checked, column: Number(event.target.value) }));
  on("sort", "click", begin);
  for (const name of ["dragover", "dragleave", "drop"]) {
    on("drop", name, (event) => {
      event.preventDefault();
      $("drop").classList.toggle("over", name === "dragover");
      if (name !== "drop") return;
      const text = event.dataTransfer.getData("text/plain");
      if (event.dataTransfer.files.length) takeFile(event.dataTransfer.files[0]);
      else if (text) load("Dropped text", text);
    });
  }
  on("stop", "click", () => (sorting ? sorting.abort() : sort()));
  on("retry", "click", retry);
  on("key", "keydown", (event) => event.key === "Enter" && retry());
  let typing = 0;
  on("search", "input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => search($("search").value), 120);
  });
  on("export-all", "click", () => download("inbox-sorted.csv", inbox.exportAll()));
  on("export-training", "click", () => download("training-rows.csv", inbox.exportTraining()));
  on("undo", "click", undo);
  on("clear", "click", clear);
  on("show-help", "click", () => $("help").showModal());
  on("close-help", "click", () => $("help").close());
  on("keys-on", "change", keepKeys);
  $("keys-on").checked = !storage?.getItem(KEYS_OFF);
  document.addEventListener("keydown", onKey);
  addEventListener("pagehide", saveNow);
  const narrow = matchMedia("(max-width: 52rem)");
  narrow.addEventListener("change", () => ($("folders").open = !narrow.matches));
  $("folders").open = !narrow.matches;
}

initPicker();
wire();
show();
reread();
