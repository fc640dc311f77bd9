// Asks the service, in portions that leave room for others, and takes its refusals as it means them.

import { wellFormed } from "./inbox.js";

const TEXTS = 32; // a request; the service sheds load beyond 64 texts at a time
const CHARACTERS = 4_000; // of a text; the model reads far fewer
const PORTION_CHARACTERS = 100_000; // of a request; in UTF-8 and escaped that stays below a body of 1 MB
const TRIES = 6; // where the service does not say when to come again
const PATIENCE_MS = 60_000;
const LONGEST_WAIT_S = 60;

/** The service said no, or nothing at all; the message is one line for a person. */
export class Refusal extends Error {
  constructor(message, status = 0, retryAfter = null) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** Another model answers than the one that has sorted so far. */
export class OtherModel extends Refusal {
  constructor() {
    super("The service now runs another model, which may sort differently. The queries that you have not reviewed can be sorted again.");
  }
}

/** Sends a request and returns its JSON. */
async function ask(path, key, signal, body) {
  if (/[^\0-\xff]/.test(key)) throw new Refusal("This is not a valid API key: it contains a character that a request header cannot carry.", 401);
  const headers = { ...(body && { "Content-Type": "application/json" }), ...(key && { "X-API-Key": key }) };
  let response;
  let answer;
  try {
    const limited = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
    response = await fetch(path, { method: body ? "POST" : "GET", headers, body, signal: limited });
    answer = await response.json().catch((error) => {
      if (error instanceof SyntaxError) return null;
      throw error;
    });
  } catch (error) {
    signal.throwIfAborted();
    throw new Refusal(error.name === "TimeoutError" ? "The service did not answer within a minute." : "The service cannot be reached.");
  }
  if (!response.ok) throw new Refusal(explain(response.status, answer), response.status, response.headers.get("Retry-After"));
  if (answer === null) throw new Refusal("The service's answer is not JSON.");
  return answer;
}

function explain(status, answer) {
  if (status === 401 || status === 403) return "The service asks for an API key.";
  const said = typeof answer?.error === "string" ? ` It says: ${answer.error.replace(/\s+/g, " ").slice(0, 300)}` : "";
  if (status === 429 || status === 503) return "The service has too much to do at the moment.";
  return `The service refused (${status}).${said}`;
}

/** Seconds to wait before the next try: what `Retry-After` says (seconds or a date), else longer each time. */
export function waitSeconds(retryAfter, tries, now = Date.now()) {
  const told = retryAfter && /^\d+$/.test(retryAfter.trim()) ? Number(retryAfter) : (Date.parse(retryAfter ?? "") - now) / 1000;
  const wanted = Number.isFinite(told) ? told : 2 ** tries;
  return Math.min(Math.max(wanted, 0.2), LONGEST_WAIT_S);
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

/**
 * Answers all pending rows of an inbox, in their order.
 * @param heard called after each portion
 * @param waits called with the seconds before a refused portion is tried again
 * @throws {Refusal} the service does not answer, or by another model; what it has answered stays
 */
export async function sortInbox(inbox, { key, signal, heard, waits }) {
  const known = await patiently(() => ask("/v1/labels", key, signal), signal, waits);
  if (!inbox.isBy(known.model)) throw new OtherModel();
  inbox.labels = known.labels;
  const todo = inbox.rows.flatMap((row, index) => (row.top ? [] : [index]));
  let [most, longest] = [TEXTS, CHARACTERS];
  while (todo.length) {
    const texts = portion(inbox.rows, todo, most, longest);
    const body = JSON.stringify({ texts, top_k: 5 });
    let answer;
    try {
      answer = await patiently(() => ask("/v1/predict", key, signal, body), signal, waits);
    } catch (error) {
      if (error.status !== 413 || texts.join("").length < 2) throw error;
      // its limit is lower than ours: fewer texts, and where one is too long, all of them shorter
      [most, longest] = texts.length > 1 ? [Math.ceil(texts.length / 2), longest] : [TEXTS, Math.ceil(texts[0].length / 2)];
      continue;
    }
    const { predictions, model } = answer;
    if (predictions?.length !== texts.length) throw new Refusal("The service returned a different number of answers than texts sent.");
    if (!inbox.isBy(model)) throw new OtherModel();
    todo.splice(0, texts.length).forEach((index, at) => {
      inbox.answer(index, predictions[at], inbox.rows[index].text.length > longest);
    });
    heard();
  }
}

function portion(rows, todo, most, longest) {
  const texts = [];
  let characters = 0;
  for (const index of todo.slice(0, most)) {
    const text = wellFormed(rows[index].text.slice(0, longest));
    characters += text.length;
    if (texts.length && characters > PORTION_CHARACTERS) break;
    texts.push(text);
  }
  return texts;
}

/** Tries again, after a while, what was refused because of too much to do: as often as the service says when. */
async function patiently(request, signal, waits) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await request();
    } catch (error) {
      const isLast = !error.retryAfter && tries + 1 >= TRIES;
      if (![429, 503].includes(error.status) || isLast) throw error;
      const seconds = waitSeconds(error.retryAfter, tries);
      waits(seconds);
      await pause(seconds, signal);
    }
  }
}
