// The inbox: queries, what the model says of them, what a person says of them. No DOM, no network.
//
// A row: text; rest, the fields of its other columns; top, [[label, permille], ..] best first, null until the service has answered;
// sure, the model needs no person; cut, the model did not read all of it; person, a label, null (set aside) or undefined (not looked at).

import { guessDelimiter, guessTextColumn, looksLikeHeader, parseCsv, toCsv, usualWidth, wholeRecords } from "./csv.js";

export const MAX_ROWS = 20_000;
export const LANE = "lane"; // group of what needs a person
export const ASIDE = "aside"; // group of what no intent fits
const NOBODY = false; // JSON keeps no undefined
const STORED = "inbox-2"; // the number counts the format

/** How to read a text: as CSV or as lines, with which column; what is given overrides what is guessed. */
export function readInput(text, { isCsv, hasHeader, column } = {}) {
  const delimiter = guessDelimiter(text) || ",";
  const asCsv = isCsv ?? looksLikeTable(text, delimiter);
  if (!asCsv) {
    const lines = text.split(/\r\n|\n|\r/);
    return { isCsv: false, hasHeader: false, columns: ["text"], column: 0, problem: "", ...pick(lines.map((line) => [line]), 0) };
  }
  const { records, problem } = parseCsv(text, delimiter);
  if (!records.length) return { isCsv: true, hasHeader: false, columns: ["text"], column: 0, problem, rows: [], empty: 0, left: 0 };
  const header = hasHeader ?? looksLikeHeader(records);
  const chosen = Math.min(column ?? guessTextColumn(records, header), records[0].length - 1);
  const columns = records[0].map((name, index) => (header && name.trim()) || `column ${index + 1}`);
  return { isCsv: true, hasHeader: header, columns, column: chosen, problem, ...pick(records.slice(header ? 1 : 0), chosen) };
}

function looksLikeTable(text, delimiter) {
  const { records } = parseCsv(wholeRecords(text, 50_000), delimiter);
  const width = usualWidth(records);
  return records.length > 1 && width > 1 && records[0].length === width && looksLikeHeader(records);
}

/** Rows with a text to read, and how many had none or were too many. */
function pick(records, column) {
  const filled = records.filter((fields) => /[^\s\p{Cc}]/u.test(fields[column] ?? ""));
  const rows = filled.slice(0, MAX_ROWS).map((fields) => ({
    text: wellFormed(fields[column]),
    rest: fields.filter((_, index) => index !== column),
    top: null,
  }));
  return { rows, empty: records.length - filled.length, left: filled.length - rows.length };
}

/** Half a character (a lone surrogate) is no text: UTF-8 cannot hold it. */
export function wellFormed(text) {
  return text.replace(/\p{Surrogate}/gu, "\uFFFD");
}

/** An intent's name as a person reads it. */
export function title(label) {
  const words = label.replaceAll("_", " ").trim() || label;
  return words[0].toUpperCase() + words.slice(1);
}

export class Inbox {
  constructor({ rows = [], restColumns = [], labels = [], model = "", done = [] } = {}) {
    Object.assign(this, { rows, restColumns, labels, model, done }); // done: [[index, person before], ..], for undo
  }

  get pending() {
    return this.rows.filter((row) => !row.top).length;
  }

  /** Takes the name of the model that answers; false if it is another than before. */
  isBy(model) {
    this.model ||= model;
    return this.model === model;
  }

  /**
   * Forgets the answers for rows that nobody has looked at, and by which model they were. What a person said stays, and is not undone any
   * more: a row that nobody has looked at would be there again, with the guesses of the old model.
   */
  forgetAnswers() {
    for (const row of this.rows) if (row.person === undefined) row.top = null;
    Object.assign(this, { model: "", done: [] });
  }

  /** Takes the service's answer for a row. */
  answer(index, prediction, cut) {
    const row = this.rows[index];
    row.top = prediction.top.map(({ label, confidence }) => [label, Math.round(1000 * confidence)]);
    row.sure = prediction.accepted;
    row.cut = prediction.truncated || cut;
  }

  /** Takes a person's word for a row: a label, or null to set it aside. */
  decide(index, label) {
    const before = this.rows[index].person;
    this.done.push([index, before === undefined ? NOBODY : before]);
    this.rows[index].person = label;
  }

  /** Takes back the last word; returns the row's index, or -1. */
  undo() {
    if (!this.done.length) return -1;
    const [index, before] = this.done.pop();
    this.rows[index].person = before === NOBODY ? undefined : before;
    return index;
  }

  get reviewed() {
    return this.rows.filter((row) => typeof row.person === "string").length;
  }

  /** Group key to the indices of its rows, the least sure first; only rows that `keep` lets through. */
  groups(keep) {
    const groups = new Map();
    this.rows.forEach((row, index) => {
      if (!row.top || !keep(row)) return;
      const key = groupOf(row);
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(index);
    });
    const sureness = (index) => this.rows[index].top[0][1];
    for (const indices of groups.values()) indices.sort((a, b) => sureness(a) - sureness(b) || a - b);
    const rank = (key) => (key === LANE ? 0 : key === ASIDE ? 2 : 1);
    return new Map([...groups].sort(([a], [b]) => rank(a) - rank(b) || a.localeCompare(b)));
  }

  /** All rows with what is known of them, and their other columns. */
  exportAll() {
    const own = ["text", "label", "confidence", "needs_person", "reviewed"];
    const header = [...own];
    for (let name of this.restColumns) {
      while (header.includes(name)) name = `original_${name}`;
      header.push(name);
    }
    const records = this.rows.map((row) => [
      row.text,
      labelOf(row) ?? "",
      row.top ? (row.top[0][1] / 1000).toFixed(3) : "",
      row.top ? (groupOf(row) === LANE ? "yes" : "no") : "",
      status(row),
      ...this.restColumns.map((_, column) => row.rest[column] ?? ""),
    ]);
    return toCsv([header, ...records]);
  }

  /** The rows that a person labelled, as `data=csv` takes them. */
  exportTraining() {
    const records = this.rows.filter((row) => typeof row.person === "string").map((row) => [row.text, row.person]);
    return toCsv([["text", "label"], ...records]);
  }

  /** Keeps all of it for a reload; false if the browser has no room (or no leave) for it. */
  save(storage) {
    const index = new Map(this.labels.map((label, at) => [label, at]));
    const number = (label) => (typeof label === "string" ? (index.get(label) ?? label) : label);
    const rows = this.rows.map(({ text, rest, top, sure, cut, person }) => ({
      t: text,
      r: rest.length ? rest : undefined,
      p: top ? top.flatMap(([label, permille]) => [number(label), permille]) : undefined,
      s: sure ? 1 : undefined,
      c: cut ? 1 : undefined,
      w: number(person),
    }));
    const { restColumns, labels, model, done } = this;
    try {
      storage.setItem(STORED, JSON.stringify({ rows, restColumns, labels, model, done }));
      return true;
    } catch {
      try {
        storage.removeItem(STORED); // better nothing than what was true a while ago
      } catch {
        // no storage at all
      }
      return false;
    }
  }

  /** What was kept, or an empty inbox. */
  static load(storage) {
    try {
      const kept = JSON.parse(storage.getItem(STORED));
      if (!kept) return new Inbox();
      const name = (label) => (typeof label === "number" ? kept.labels[label] : label);
      const rows = kept.rows.map(({ t, r = [], p, s, c, w }) => ({
        text: t,
        rest: r,
        top: p ? p.flatMap((value, at) => (at % 2 ? [] : [[name(value), p[at + 1]]])) : null,
        sure: s === 1,
        cut: c === 1,
        person: name(w),
      }));
      return new Inbox({ ...kept, rows });
    } catch {
      return new Inbox();
    }
  }

  static forget(storage) {
    try {
      storage.removeItem(STORED);
    } catch {
      // no storage, nothing to forget
    }
  }
}

/** The label that counts: a person's word before the model's; null: none fits or none yet. */
export function labelOf(row) {
  return row.person !== undefined ? row.person : (row.top?.[0][0] ?? null);
}

export function groupOf(row) {
  if (row.person === null) return ASIDE;
  if (row.person === undefined && !row.sure) return LANE;
  return `label:${labelOf(row)}`;
}

/** What a person did with a row: corrected, confirmed, set aside or nothing. */
export function status(row) {
  if (row.person === undefined) return "";
  if (row.person === null) return "set aside";
  return row.person === row.top?.[0][0] ? "confirmed" : "corrected";
}
