// Shows an inbox: folders to filter by, groups of rows. Only some rows of a group are in the page; the rest comes when it is asked for, so
// that ten thousand rows stay light. A group is drawn anew only when what it shows has changed.

import { $, bar, h, number, percent } from "./dom.js";
import { ASIDE, LANE, groupOf, labelOf, status, title } from "./inbox.js";

const EVERYTHING = "everything";
const REVIEWED = "reviewed"; // folder of what a person labelled or set aside
const FEW = 20; // rows of a group among others
const MANY = 100; // rows of a group by itself

export class View {
  /** `act` has what a click does: pick(index), decide(index, label). */
  constructor(act) {
    this.act = act;
    this.reset();
    $("groups").addEventListener("focusin", (event) => this.follow(event.target.closest(".row")));
  }

  reset() {
    Object.assign(this, { folder: EVERYTHING, query: "", current: -1, shown: new Map() });
    $("search").value = "";
    $("groups").replaceChildren();
  }

  /** Draws what has changed, and keeps the focus where it was. */
  draw(inbox) {
    this.inbox = inbox;
    const focused = document.activeElement;
    const hadFocus = $("groups").contains(focused);
    const group = hadFocus && focused.closest(".group")?.dataset.key;
    const words = this.query.toLowerCase();
    const found = (row) => !words || row.text.toLowerCase().includes(words);
    const folders = inbox.groups(() => true);
    this.groups = new Map([...inbox.groups(found)].flatMap(([key, indices]) => this.filter(key, indices)));
    if (![...this.groups.values()].some((indices) => indices.includes(this.current))) this.current = -1; // keys act on what is shown
    this.drawFolders(folders);
    this.drawGroups();
    const lost = hadFocus && !$("groups").contains(document.activeElement);
    if (lost && this.current >= 0) return this.focus(this.current, false);
    if (lost) $("groups").querySelector(`[data-key="${CSS.escape(group)}"] .more`)?.focus({ preventScroll: true });
    if (!this.element(this.current)) this.current = -1; // its group goes on behind "Show more"
    if (!this.element(this.current)?.classList.contains("current")) this.mark();
  }

  /** The row that has the focus, however it got it, is the current one. */
  follow(row) {
    if (!row || Number(row.dataset.index) === this.current) return;
    this.current = Number(row.dataset.index);
    this.mark();
  }

  filter(key, indices) {
    if (this.folder === REVIEWED) {
      const looked = indices.filter((index) => this.inbox.rows[index].person !== undefined);
      return looked.length ? [[key, looked]] : [];
    }
    return this.folder === EVERYTHING || this.folder === key ? [[key, indices]] : [];
  }

  drawFolders(groups) {
    const total = [...groups.values()].reduce((sum, indices) => sum + indices.length, 0);
    const looked = this.inbox.rows.filter((row) => row.person !== undefined).length;
    const folders = [[EVERYTHING, total], [LANE, groups.get(LANE)?.length ?? 0], [REVIEWED, looked]];
    for (const [key, indices] of groups) if (key !== LANE) folders.push([key, indices.length]);
    if (!folders.some(([key]) => key === this.folder)) folders.push([this.folder, 0]);
    const focused = document.activeElement?.dataset?.folder;
    $("filters").replaceChildren(...folders.map(([key, count]) => this.showFolder(key, count)));
    $("folder-name").textContent = name(this.folder);
    if (focused !== undefined) $("filters").querySelector(`[data-folder="${CSS.escape(focused)}"]`)?.focus();
  }

  showFolder(key, count) {
    const open = () => this.open(key);
    const properties = { type: "button", "data-folder": key, "aria-pressed": String(key === this.folder), click: open };
    const text = h("span", { class: "folder-name", dir: "auto" }, name(key));
    return h("li", { class: kind(key) }, h("button", properties, text, h("span", { class: "count" }, number(count))));
  }

  /** Shows one folder alone. */
  open(key) {
    this.folder = key;
    this.current = -1;
    if (matchMedia("(max-width: 52rem)").matches) $("folders").open = false;
    this.draw(this.inbox);
    scrollTo({ top: Math.min(scrollY, $("work").offsetTop) });
  }

  drawGroups() {
    const before = new Map([...$("groups").children].map((section) => [section.dataset.key, section]));
    let place = $("groups").firstElementChild;
    for (const [key, indices] of this.groups) {
      const signature = this.signature(key, indices);
      const old = before.get(key);
      before.delete(key);
      if (old && old.dataset.signature === signature && old === place) {
        place = place.nextElementSibling;
        continue;
      }
      const section = old?.dataset.signature === signature ? old : this.showGroup(key, indices, signature);
      $("groups").insertBefore(section, place);
      if (old && old !== section) {
        if (place === old) place = old.nextElementSibling;
        old.remove();
      }
    }
    for (const section of before.values()) section.remove();
    if (!this.groups.size) this.drawNothing();
  }

  drawNothing() {
    const isDone = this.folder === LANE && !this.inbox.pending;
    const words = this.query ? `No query here has “${this.query}” in it.` : isDone ? "Nothing needs you here. Well done." : "";
    const nothing = h("section", { class: "nothing", "data-key": "", "data-signature": "" }, h("p", {}, words || "Nothing here yet."));
    $("groups").replaceChildren(nothing);
  }

  signature(key, indices) {
    const rows = indices.slice(0, this.limit(key)).map((index) => `${index}${status(this.inbox.rows[index])}`);
    return `${indices.length} ${rows.join()}`;
  }

  limit(key) {
    return this.shown.get(`${this.folder} ${key}`) ?? (this.groups.size > 1 ? FEW : MANY);
  }

  /** Lets a group show more of its rows, at least `least`. */
  more(key, least = 0) {
    this.shown.set(`${this.folder} ${key}`, Math.max(this.limit(key) + MANY, least));
    this.drawGroups();
    this.mark();
  }

  /** What its button does: the first of the new rows gets the focus that the button had. */
  showMore(key) {
    const first = this.groups.get(key)[this.limit(key)];
    this.more(key);
    this.focus(first);
  }

  showGroup(key, indices, signature) {
    const rows = indices.slice(0, this.limit(key)).map((index) => this.showRow(index));
    const left = indices.length - rows.length;
    const heading = h("h2", { dir: "auto" }, name(key), h("span", { class: "count" }, number(indices.length)));
    const section = h("section", { class: `group ${kind(key)}`, "data-key": key, "data-signature": signature }, heading);
    if (key === LANE) section.append(h("p", { class: "hint" }, "The model is not sure enough of these. You decide."));
    section.append(h("ul", { class: "rows" }, ...rows));
    if (left) {
      const more = h("button", { type: "button", class: "more", click: () => this.showMore(key) }, `Show ${number(Math.min(left, MANY))} more of ${number(left)}`);
      section.append(more);
    }
    return section;
  }

  showRow(index) {
    const row = this.inbox.rows[index];
    const label = labelOf(row);
    const done = status(row);
    const inLane = groupOf(row) === LANE;
    const text = h("p", { class: "text", dir: "auto", id: `text-${index}` }, row.text);
    const pick = h(
      "button",
      { type: "button", class: "pick", tabindex: index === this.current ? 0 : -1, title: label ?? "", "aria-describedby": `text-${index}`, click: () => this.act.pick(index) },
      // in its intent's group the heading says which it is
      h("span", { class: inLane ? "visually-hidden" : "" }, "Change"),
      h("span", { class: inLane ? "" : "visually-hidden", dir: "auto" }, label === null ? " set aside" : ` ${title(label)}`),
    );
    const sureness = done
      ? [h("span", { class: `badge ${done.replace(" ", "-")}` }, done)]
      : [h("span", { class: "sureness" }, bar(row.top[0][1]), h("span", { class: "percent" }, percent(row.top[0][1])))];
    const cut = row.cut && h("span", { class: "badge", title: "The text is longer than the model can read; it saw the beginning" }, "read in part");
    const said = h("div", { class: "said" }, cut, pick, ...sureness);
    const properties = { class: "row", "data-index": index, click: (event) => event.target.closest("button") || this.focus(index) };
    return h("li", properties, text, said);
  }

  /** The rows in the page, in their order. */
  get rows() {
    return [...$("groups").querySelectorAll(".row")];
  }

  element(index) {
    return $("groups").querySelector(`[data-index="${index}"]`);
  }

  /** Makes a row the current one and gives it the focus, drawing it first if need be; -1: the first row, or the folder if it is empty. */
  focus(index, scroll = true) {
    if (index < 0) {
      const first = $("groups").querySelector(".row");
      this.current = -1;
      if (first) this.focus(Number(first.dataset.index));
      else $("filters").querySelector("[aria-pressed=true]").focus();
      return;
    }
    if (!this.element(index)) {
      for (const [key, indices] of this.groups) {
        const at = indices.indexOf(index);
        if (at >= 0) this.more(key, at + 1);
      }
    }
    const element = this.element(index);
    this.current = element ? index : -1; // a row of another folder, or that the search leaves out, is not here
    this.mark();
    element?.querySelector(".pick").focus({ preventScroll: true });
    if (scroll) element?.scrollIntoView({ block: "nearest" });
  }

  /** Marks the current row, and shows the model's other guesses under it. */
  mark() {
    for (const row of $("groups").querySelectorAll(".current")) {
      row.classList.remove("current");
      row.querySelector(".guesses")?.remove();
      row.querySelector(".pick").tabIndex = -1;
    }
    const row = this.element(this.current);
    const pick = (row ?? $("groups")).querySelector(".pick");
    if (pick) pick.tabIndex = 0; // the list can always be reached by Tab
    if (!row) return;
    row.classList.add("current");
    row.append(this.showGuesses(this.current));
  }

  showGuesses(index) {
    const isSecond = (event) => event.detail > 1; // of a double click: by then another row is there
    const guesses = this.inbox.rows[index].top.map(([label, permille], at) =>
      h(
        "li",
        {},
        h(
          "button",
          { type: "button", title: label, tabindex: -1, "aria-describedby": `text-${index}`, click: (event) => isSecond(event) || this.act.decide(index, label) },
          h("kbd", {}, String(at + 1)),
          h("span", { class: "guess-name", dir: "auto" }, title(label)),
          bar(permille),
          h("span", { class: "percent" }, percent(permille)),
        ),
      ),
    );
    return h("ol", { class: "guesses", "aria-label": "The model's guesses" }, ...guesses);
  }

  /** Goes so many rows down (or up); a group that has more of them shows them first. */
  step(by) {
    const rows = this.rows;
    const at = rows.findIndex((row) => Number(row.dataset.index) === this.current);
    const group = rows[at]?.closest(".group");
    if (by > 0 && at >= 0 && group.querySelector(".more") && group.querySelector(".row:last-child") === rows[at]) {
      this.more(group.dataset.key);
      this.step(by);
      return;
    }
    const next = at < 0 ? rows[0] : rows[Math.min(Math.max(at + by, 0), rows.length - 1)];
    if (next) this.focus(Number(next.dataset.index));
  }

  /** The row to go to when the current one leaves its group: the next of the group, else the one before, else none. */
  neighbour(index) {
    const group = [...this.groups.values()].find((indices) => indices.includes(index)) ?? [];
    const at = group.indexOf(index);
    return group[at + 1] ?? group[at - 1] ?? -1;
  }
}

function name(key) {
  const own = { [EVERYTHING]: "Everything", [REVIEWED]: "Looked at by you", [LANE]: "Needs a person", [ASIDE]: "Set aside" };
  return own[key] ?? title(key.slice("label:".length));
}

function kind(key) {
  return key === LANE || key === ASIDE ? key : key.startsWith("label:") ? "intent" : "all";
}
