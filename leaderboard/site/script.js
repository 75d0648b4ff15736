// Sorting, filtering, choosing columns, permalinks, theme. Without it the page is the same tables, all of them, as plain HTML.
"use strict";

const root = document.documentElement;
const sections = [...document.querySelectorAll("main section[id]")];
const tabs = new Map(); // of each section with a table: what is needed to change it
let current = null;

// --- theme

function remembered() {
  try { return localStorage.getItem("theme"); } catch { return null; } // a page from the disk may have no storage
}

function dark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function setUpTheme() {
  const theme = remembered();
  if (theme === "dark" || theme === "light") root.dataset.theme = theme;
  const button = document.querySelector("button.theme");
  const say = () => { button.textContent = dark() ? "Light" : "Dark"; };
  button.hidden = false;
  say();
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* for this page only */ }
    say();
  });
}

// --- one table

class Tab {
  constructor(section) {
    this.section = section;
    this.table = section.querySelector("table");
    this.body = this.table.tBodies[0];
    this.rows = [...this.body.rows];
    this.headers = [...this.table.tHead.rows[0].cells];
    this.names = this.headers.map((header) => header.textContent);
    this.texts = this.rows.map((row) => row.textContent.toLowerCase());
    this.marks = new Map(); // what of the pictures belongs to a row
    for (const mark of section.querySelectorAll("svg [data-row]")) {
      const row = mark.dataset.row;
      this.marks.set(row, [...(this.marks.get(row) ?? []), mark]);
    }
    this.filter = section.querySelector(".filter");
    this.boxes = [...section.querySelectorAll(".boxes input")];
    this.shownAtFirst = this.boxes.map((box) => box.checked);
    this.sort = null; // {place, down}
    section.querySelector(".tools").hidden = false;
    for (const [place, header] of this.headers.entries()) {
      const button = header.querySelector("button");
      button.disabled = false;
      button.addEventListener("click", () => {
        const number = header.classList.contains("number");
        const down = this.sort?.place === place ? !this.sort.down : number; // the largest number first, names from A
        this.apply({ ...this.state(), sort: { place, down } });
        remember(true);
      });
    }
    this.filter.addEventListener("input", () => { this.applyFilter(); remember(false); });
    for (const box of this.boxes) box.addEventListener("change", () => { this.applyColumns(); remember(true); });
    section.querySelector(".permalink").addEventListener("click", (event) => copy(location.href, event.currentTarget));
    this.applyColumns();
    this.say();
  }

  key(row, place) {
    const cell = row.cells[place];
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    return cell.textContent.trim() || null;
  }

  applySort() {
    for (const header of this.headers) header.removeAttribute("aria-sort");
    let order = this.rows;
    if (this.sort) {
      const { place, down } = this.sort;
      this.headers[place].setAttribute("aria-sort", down ? "descending" : "ascending");
      const keyed = this.rows.map((row, index) => ({ row, index, key: this.key(row, place), out: row.classList.contains("unranked") }));
      keyed.sort((a, b) => a.out - b.out || compare(a.key, b.key, down) || a.index - b.index);
      order = keyed.map((item) => item.row);
    }
    this.body.append(...order); // one change of the document, however many rows
  }

  applyFilter() {
    const words = this.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const [index, row] of this.rows.entries()) {
      const out = !words.every((word) => this.texts[index].includes(word));
      row.hidden = out;
      for (const mark of this.marks.get(row.dataset.row) ?? []) mark.classList.toggle("dim", out);
    }
    this.say();
  }

  applyColumns() {
    for (const box of this.boxes) this.table.classList.toggle(`no-${box.value}`, !box.checked);
  }

  say() {
    const shown = this.rows.filter((row) => !row.hidden).length;
    const count = this.section.querySelector(".count");
    count.textContent = shown === this.rows.length ? `${shown} rows` : `${shown} of ${this.rows.length} rows`;
  }

  state() {
    return { sort: this.sort, filter: this.filter.value, columns: this.boxes.filter((box) => box.checked).map((box) => box.value) };
  }

  apply({ sort, filter, columns }) {
    this.sort = sort;
    this.filter.value = filter;
    for (const box of this.boxes) box.checked = columns.includes(box.value);
    this.applySort();
    this.applyFilter();
    this.applyColumns();
  }

  first() {
    const columns = this.boxes.filter((_, place) => this.shownAtFirst[place]).map((box) => box.value);
    return { sort: null, filter: "", columns };
  }
}

function compare(a, b, down) {
  if (a === null || b === null) return (a === null) - (b === null); // what is missing comes last either way
  const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  return down ? -order : order;
}

// --- permalinks: #sheet=NAME&sort=COLUMN&down=1&q=WORDS&columns=2,3

function remember(step) {
  const tab = tabs.get(current);
  const parts = new URLSearchParams({ sheet: current });
  if (tab) {
    const { sort, filter, columns } = tab.state();
    if (sort) { parts.set("sort", sort.place + 1); parts.set("down", Number(sort.down)); }
    if (filter) parts.set("q", filter);
    if (String(columns) !== String(tab.first().columns)) parts.set("columns", columns);
  }
  history[step ? "pushState" : "replaceState"](null, "", `#${parts}`);
}

function show(name) {
  current = name;
  for (const section of sections) section.hidden = section.id !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.sheet === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function restore() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const name = parts.get("sheet");
  show(sections.some((section) => section.id === name) ? name : sections[0].id);
  const tab = tabs.get(current);
  if (!tab) return;
  const state = tab.first();
  const place = Number(parts.get("sort")) - 1;
  if (place >= 0 && place < tab.headers.length) state.sort = { place, down: parts.get("down") === "1" };
  state.filter = parts.get("q") ?? "";
  if (parts.has("columns")) state.columns = parts.get("columns").split(",");
  tab.apply(state);
}

// --- copying

async function copy(text, button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch { // no permission: select it, so that Ctrl-C does it
    const block = button.parentElement.querySelector("code");
    if (block) getSelection().selectAllChildren(block);
    button.textContent = block ? "Press Ctrl-C" : "Copy it from the address bar";
  }
  setTimeout(() => { button.textContent = before; }, 2000);
}

// --- begin

setUpTheme();
for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button.parentElement.querySelector("code").textContent, button));
}
for (const section of sections) if (section.querySelector(".tools")) tabs.set(section.id, new Tab(section));
if (sections.length) {
  root.classList.add("tabbed");
  addEventListener("popstate", restore);
  addEventListener("hashchange", restore);
  restore();
}
