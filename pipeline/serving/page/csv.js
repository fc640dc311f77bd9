// Reads and writes CSV (RFC 4180). Reading forgives what a spreadsheet forgives; writing is what `pipeline/sources.py` reads, and no
// spreadsheet takes a cell of it for a formula.

const KNOWN_TEXT_COLUMN = /^(text|texts|message|query|question|body|content|description|comment|mail|email|request)$/i;
const SAMPLE = 200; // records that guesses look at
const GUESSED_FROM = 100_000; // characters
const USUAL = 0.9; // of the records have the same number of fields, in a table

/**
 * Splits a text into records of fields.
 * @returns {{records: string[][], problem: string}} problem: one line, empty if there is none
 */
export function parseCsv(text, delimiter) {
  const records = [];
  let fields = [];
  let at = 0;
  let amiss = "";
  const end = text.length;
  while (at < end) {
    const [field, after, behind] = text[at] === '"' ? quotedField(text, at, delimiter) : plainField(text, at, delimiter);
    if (behind && !amiss) amiss = `Row ${records.length + 1}: text stands behind a closing quotation mark: one within a text must be doubled.`;
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
  return { records, problem: amiss || uneven(records) };
}

/** The field that begins with the quotation mark at `at`, where it ends (-1: nowhere), and whether text stands behind its closing mark. */
function quotedField(text, at, delimiter) {
  let close = text.indexOf('"', at + 1);
  while (close >= 0 && text[close + 1] === '"') close = text.indexOf('"', close + 2);
  if (close < 0) return ["", -1];
  const [rest, after] = plainField(text, close + 1, delimiter); // it belongs to the field
  return [text.slice(at + 1, close).replaceAll('""', '"') + rest, after, rest.trim() !== ""];
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

/** The separator that cuts the first record, and nearly all after it, into as many fields: comma, semicolon, tab; empty if it is no table. */
export function guessDelimiter(text) {
  let best = "";
  let most = 1;
  for (const delimiter of [",", ";", "\t"]) {
    const { records } = parseCsv(wholeRecords(text, GUESSED_FROM), delimiter);
    const width = usualWidth(records);
    if (records.length > 1 && records[0].length === width && width > most) [best, most] = [delimiter, width];
  }
  return best;
}

/** How many fields nearly all records have; 0 if no number is so usual. A row or two may be amiss: the person is told of them. */
export function usualWidth(records) {
  const counts = new Map();
  for (const fields of records) counts.set(fields.length, (counts.get(fields.length) ?? 0) + 1);
  for (const [width, count] of counts) if (count >= USUAL * records.length) return width;
  return 0;
}

/** Whole records from the start of a text, at most so many characters; where quotation marks do not pair up, whole lines. */
export function wholeRecords(text, limit) {
  if (text.length <= limit) return text;
  const end = text.lastIndexOf("\n", limit);
  let cut = end;
  let open = marks(text.slice(0, cut)) % 2;
  while (cut > 0 && open) {
    const before = text.lastIndexOf("\n", cut - 1);
    open = (open + marks(text.slice(Math.max(before, 0), cut))) % 2;
    cut = before;
  }
  return text.slice(0, cut > limit / 2 ? cut : end > 0 ? end : limit);
}

const marks = (text) => text.split('"').length - 1;

/** Whether the first record names the columns: short names, each once, and none a sentence; a column of row numbers often has none. */
export function looksLikeHeader(records) {
  const names = records[0].map((name) => name.trim()).filter(Boolean);
  const isName = (name) => name.length <= 40 && !/[.?!]$/.test(name) && name.split(/\s+/).length <= 4;
  return records.length > 1 && names.length > 0 && names.every(isName) && new Set(names).size === names.length;
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
// text; stage `prepare` strips it from a text's ends, and drops it wherever it is in a label, so the pipeline gets what was there.
const GUARD = "\u007F";

/** A field that no spreadsheet executes. */
function disarm(field) {
  return FORMULA.test(field) ? GUARD + field : field;
}

// A spreadsheet that separates fields by semicolons or tabs takes only the first field of a line for quoted: it cuts the others at those and at
// line breaks, and there a formula may begin, or a quotation mark that would hold the next line's first field until its own closes it.
const CUT = /([;\t\r\n][\s\p{Cc}\p{Cf}]*)(["=+\-@\uFF1D\uFF0B\uFF0D\uFF20])?/gu;

/** CSV with every field quoted, CRLF, and a byte order mark, without which Excel does not take it for UTF-8. */
export function toCsv(records) {
  const guard = (cut, before, sign) => (sign ? before + GUARD + sign : cut);
  const quote = (field, at) => {
    const written = `${disarm(String(field)).replaceAll('"', '""')}"`;
    return `"${at ? written.replaceAll(CUT, guard) : written}`;
  };
  return "\uFEFF" + records.map((fields) => fields.map(quote).join(",") + "\r\n").join("");
}
