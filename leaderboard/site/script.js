// Sorts, filters, chooses columns, keeps the view in the address; theme and copying.
// Without it every page is the same tables as plain HTML.
"use strict";

const root = document.documentElement;

// --- Theme

const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";

function remembered(theme) {
  try {
    if (theme) localStorage.setItem("theme", theme);
    return localStorage.getItem("theme");
  } catch {
    return null; // there is no storage: for this page only
  }
}

if (["dark", "light"].includes(remembered())) root.dataset.theme = remembered();

function setUpTheme(button) {
  const name = () => { button.textContent = isDark() ? "Light theme" : "Dark theme"; };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remembered(root.dataset.theme);
    name();
  });
  system.addEventListener("change", name);
  name();
}

// --- Copying

async function copy(text, button, source) {
  const before = button.dataset.name ??= button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch { // not allowed: select it, so that Ctrl-C does it
    if (source) getSelection().selectAllChildren(source);
    button.textContent = source ? "Press Ctrl-C" : "Copy the address";
  }
  setTimeout(() => { button.textContent = before; }, 2000);
}

// --- A table with its pictures

const AT_ONCE = 150; // rows that are laid out before a click is answered; a browser takes a tenth of a second for 1,000

class Sheet {
  constructor(section) {
    this.section = section;
    this.name = section.id;
    const table = section.querySelector("table");
    this.headers = [...table.tHead.rows[0].cells];
    this.columns = this.headers.map((header) => header.textContent);
    // those that are not ranked stay behind the others
    this.bodies = [...table.tBodies].map((body) => ({ body, rows: [...body.rows].filter((row) => row.dataset.row) }));
    this.rows = this.bodies.flatMap(({ rows }) => rows);
    this.texts = new Map(this.rows.map((row) => [row, row.textContent.toLowerCase()]));
    this.marks = Map.groupBy?.(section.querySelectorAll("[data-row]:not(tr)"), (mark) => mark.dataset.row) ?? new Map();
    this.search = section.querySelector("input[type=search]");
    this.boxes = [...section.querySelectorAll(".boxes input")];
    this.count = section.querySelector("output");
    this.sort = "";
    this.setUp(table);
  }

  setUp(table) {
    this.section.querySelector(".tools").hidden = false;
    for (const header of this.headers) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => { this.sortBy(this.next(header)); this.changed("push"); });
    }
    this.search.addEventListener("input", () => { this.filter(); this.changed("replace"); });
    for (const box of this.boxes) {
      box.addEventListener("change", () => { this.choose(); this.changed("push"); });
    }
    const link = this.section.querySelector(".link");
    link.addEventListener("click", () => copy(location.href, link));
    const light = (event, on) => {
      const row = event.target.closest("tr")?.dataset.row;
      for (const mark of this.marks.get(row) ?? []) mark.classList.toggle("lit", on);
    };
    for (const [type, on] of [["pointerover", true], ["pointerout", false], ["focusin", true], ["focusout", false]]) {
      table.addEventListener(type, (event) => light(event, on));
    }
  }

  // a column's name, after "-" if the largest comes first; empty for the order of the file
  next(header) {
    const name = header.textContent;
    const steps = header.classList.contains("number") ? [`-${name}`, name, ""] : [name, `-${name}`, ""];
    return steps[(steps.indexOf(this.sort) + 1) % 3];
  }

  sortBy(sort) {
    const down = !this.columns.includes(sort);
    const place = this.columns.indexOf(down ? sort.slice(1) : sort);
    if (place < 0 && !this.sort) return;
    this.sort = place < 0 ? "" : sort;
    for (const [index, header] of this.headers.entries()) {
      header.ariaSort = index !== place ? null : down ? "descending" : "ascending";
    }
    this.rows = this.bodies.flatMap(({ body, rows }) => {
      const order = place < 0 ? rows : sorted(rows, (row) => value(row.cells[place]), down);
      body.append(...order); // one change of the document, however many rows
      return order;
    });
  }

  filter() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of this.rows) {
      row.hidden = !words.every((word) => this.texts.get(row).includes(word));
      for (const mark of this.marks.get(row.dataset.row) ?? []) mark.classList.toggle("dim", row.hidden);
    }
    for (const { body, rows } of this.bodies) body.hidden = rows.every((row) => row.hidden);
    const shown = this.rows.filter((row) => !row.hidden).length;
    this.count.value = shown === this.rows.length ? `${shown} rows` : `${shown} of ${this.rows.length} rows`;
  }

  choose() {
    for (const [index, box] of this.boxes.entries()) {
      if (this.headers[index + 1].hidden === !box.checked) continue;
      this.headers[index + 1].hidden = !box.checked;
      for (const row of this.rows) row.cells[index + 1].hidden = !box.checked;
    }
  }

  // the first rows at once, the others by and by
  settle(atOnce = AT_ONCE) {
    clearTimeout(this.timer);
    const shown = this.rows.filter((row) => !row.hidden);
    for (const [place, row] of shown.entries()) row.classList.toggle("later", place >= atOnce);
    const go = (from) => {
      for (const row of shown.slice(from, from + AT_ONCE)) row.classList.remove("later");
      if (from < shown.length) this.timer = setTimeout(go, 10, from + AT_ONCE);
    };
    this.timer = setTimeout(go, 10, atOnce);
  }

  changed(how) {
    this.settle();
    this.remember(how);
  }

  restore(state) {
    this.sortBy(state.get("sort") ?? "");
    this.search.value = state.get("filter") ?? "";
    for (const box of this.boxes) {
      box.checked = state.getAll("show").includes(box.value) || (box.defaultChecked && !state.getAll("hide").includes(box.value));
    }
    this.choose();
    this.filter();
  }

  remember(how) {
    const state = new URLSearchParams();
    if (this.sort) state.append("sort", this.sort);
    if (this.search.value) state.append("filter", this.search.value);
    for (const box of this.boxes) {
      if (box.checked !== box.defaultChecked) state.append(box.checked ? "show" : "hide", box.value);
    }
    history[`${how}State`](null, "", `#${[this.name, ...(state.size ? [state] : [])].join("&")}`);
  }
}

function value(cell) {
  return cell.dataset.value === undefined ? cell.textContent || null : Number(cell.dataset.value);
}

function sorted(rows, key, down) {
  const order = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : collator.compare(a, b));
  const keyed = rows.map((row) => [key(row), row]);
  const missing = keyed.filter(([found]) => found === null);
  const there = keyed.filter(([found]) => found !== null);
  there.sort(([a], [b]) => (down ? order(b, a) : order(a, b)));
  return [...there, ...missing].map(([, row]) => row); // what is missing comes last either way
}

const collator = new Intl.Collator("en", { numeric: true });

// --- A hint where something goes on beyond an edge

function setUpHint(element) {
  const hint = () => {
    element.classList.toggle("beyond", element.scrollWidth - element.clientWidth - element.scrollLeft > 1);
    element.classList.toggle("below", element.scrollHeight - element.clientHeight - element.scrollTop > 1);
  };
  element.addEventListener("scroll", hint, { passive: true });
  const sizes = new ResizeObserver(hint);
  for (const observed of [element, ...element.children]) sizes.observe(observed);
}

// --- One table at a time; its address: #NAME&sort=COLUMN&filter=WORDS&show=COLUMN&hide=COLUMN

function setUpSheets(sections) {
  const sheets = new Map();
  let current = null;

  function route() {
    const [id, ...rest] = location.hash.slice(1).split("&");
    const target = id ? document.getElementById(id) : null;
    const section = target?.closest("#sheets > section");
    if (id && !section && current) return; // a place outside the tables
    current = section ?? sections[0];
    for (const other of sections) other.hidden = other !== current;
    for (const link of document.querySelectorAll("nav a")) {
      link.ariaCurrent = link.hash === `#${current.id}` ? "page" : null;
    }
    if (!sheets.has(current)) sheets.set(current, new Sheet(current));
    sheets.get(current).restore(new URLSearchParams(rest.join("&")));
    const row = section && target !== section ? target.closest("tr") : null;
    sheets.get(current).settle(row ? Infinity : AT_ONCE);
    for (const other of document.querySelectorAll("tr.target")) other.classList.remove("target");
    row?.classList.add("target");
    if (row) target.scrollIntoView(); // Chromium does so by itself, Firefox has been there before the row was
  }

  addEventListener("hashchange", route);
  route();
}

addEventListener("DOMContentLoaded", () => {
  setUpTheme(document.getElementById("theme"));
  for (const button of document.querySelectorAll(".copy")) {
    const source = button.parentElement.querySelector("code");
    button.hidden = false;
    button.addEventListener("click", () => copy(source.textContent, button, source));
  }
  for (const element of document.querySelectorAll(".frame, .canvas, nav")) setUpHint(element);
  const sections = [...document.querySelectorAll("#sheets > section")];
  if (sections.length) setUpSheets(sections);
});
