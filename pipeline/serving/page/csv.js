// Reads and writes CSV (RFC 4180). Reading forgives what a spreadsheet forgives; writing is what `pipeline/sources.py` reads, and no
// spreadsheet takes a cell of it for a formula.

const KNOWN_TEXT_COLUMN = /^(text|texts|message|query|question|body|content|description|comment|mail|email|request)$/i;
const SAMPLE = 200; // records that guesses look at

/**
 * Splits a text into records of fields.
 * @returns {{records: string[][], problem: string}} problem: one line, empty if there is none
 */
export function parseCsv(text, delimiter) {
  const records = [];
  let fields = [];
  let at = 0;
  const end = text.length;
  while (at < end) {
    const [field, after] = text[at] === '"' ? quotedField(text, at, delimiter) : plainField(text, at, delimiter);
    if (after < 0) {
      return { records, problem: `Row ${records.length + 1}: a quotation mark is opened and never closed.` };
    }
    fields.push(field);
    at = after + 1;
    if (text[after] === delimiter) {
      if (at === end) fields.push("");
      continue;
    }
    if (text[after] === "\r" && text[at] === "\n") at += 1;
    if (fields.length > 1 || fields[0] !== "") records.push(fields);
    fields = [];
  }
  if (fields.length) records.push(fields);
  return { records, problem: uneven(records) };
}

/** The field that begins with the quotation mark at `at`, and where it ends; -1: nowhere. */
function quotedField(text, at, delimiter) {
  let close = text.indexOf('"', at + 1);
  while (close >= 0 && text[close + 1] === '"') close = text.indexOf('"', close + 2);
  if (close < 0) return ["", -1];
  const [rest, after] = plainField(text, close + 1, delimiter); // what stands behind the closing mark belongs to the field
  return [text.slice(at + 1, close).replaceAll('""', '"') + rest, after];
}

function plainField(text, at, delimiter) {
  let after = at;
  while (after < text.length && text[after] !== delimiter && text[after] !== "\n" && text[after] !== "\r") after += 1;
  return [text.slice(at, after), after];
}

function uneven(records) {
  const odd = records.findIndex((fields) => fields.length !== records[0].length);
  if (odd < 0) return "";
  return `Row ${odd + 1} has ${records[odd].length} fields where the first has ${records[0].length}: a text with the separator in it must be quoted.`;
}

/** The separator that splits the first records most evenly: comma, semicolon or tab; empty if it is no table. */
export function guessDelimiter(text) {
  let best = "";
  let most = 1;
  for (const delimiter of [",", ";", "\t"]) {
    const { records, problem } = parseCsv(firstRecords(text), delimiter);
    if (!problem && records.length > 1 && records[0].length > most) {
      [best, most] = [delimiter, records[0].length];
    }
  }
  return best;
}

/** Whole records from the start of a text: enough to guess from. */
function firstRecords(text) {
  const limit = 100_000;
  if (text.length <= limit) return text;
  let cut = text.lastIndexOf("\n", limit);
  while (cut > 0 && text.slice(0, cut).split('"').length % 2 === 0) cut = text.lastIndexOf("\n", cut - 1);
  return text.slice(0, cut > 0 ? cut : limit);
}

/** Whether the first record names the columns: short names, each once, and none a sentence. */
export function looksLikeHeader(records) {
  const names = records[0].map((name) => name.trim());
  const isName = (name) => name !== "" && name.length <= 40 && !/[.?!]$/.test(name) && name.split(/\s+/).length <= 4;
  return records.length > 1 && names.every(isName) && new Set(names).size === names.length;
}

/** The column that holds the texts: one whose name says so, else the one with the longest fields. */
export function guessTextColumn(records, hasHeader) {
  const named = hasHeader ? records[0].findIndex((name) => KNOWN_TEXT_COLUMN.test(name.trim())) : -1;
  if (named >= 0) return named;
  const rows = records.slice(hasHeader ? 1 : 0, SAMPLE);
  const lengths = records[0].map((_, column) => rows.reduce((sum, fields) => sum + (fields[column] ?? "").length, 0));
  return lengths.indexOf(Math.max(...lengths));
}

// What a spreadsheet may take for a formula: its sign, also the wide one, after anything that a program may trim.
const FORMULA = /^[\s\p{Cc}\p{Cf}]*[=+\-@\uFF1D\uFF0B\uFF0D\uFF20]/u;
// U+007F DELETE: no spreadsheet trims it (it does trim spaces and tabs, and Excel forgets apostrophes when it saves), so the cell stays
// text; stage `prepare` turns control characters into spaces and strips them, so the pipeline gets the very text.
const GUARD = "\u007F";

/** A field that no spreadsheet executes. */
function disarm(field) {
  return FORMULA.test(field) ? GUARD + field : field;
}

/** CSV with every field quoted, CRLF, and a byte order mark, without which Excel does not take it for UTF-8. */
export function toCsv(records) {
  const quote = (field) => `"${disarm(String(field)).replaceAll('"', '""')}"`;
  return "\uFEFF" + records.map((fields) => fields.map(quote).join(",") + "\r\n").join("");
}
