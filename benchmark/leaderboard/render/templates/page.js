"use strict";
// Sortable tables, a filter over rows, a choice of network, settings of a metric folded behind its first. All of it is
// in the link: #sort=TABLE:COLUMN:DIRECTION, #filter=TEXT, #show=DATASET/TARGET, #open=TABLE:METRIC,...,
// #hide=TABLE:FAMILY,... and, after a jump to a section, #at=SECTION, joined by "&".
// Each table can be had as CSV and LaTeX, with the rows and columns that it shows (export.js).
(() => {
  const status = document.getElementById("status");
  const filter = document.getElementById("filter");
  const which = document.getElementById("which");
  const state = {};

  const valueOf = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.sort ?? cell.textContent.trim();
    const number = Number(text);
    return text !== "" && !Number.isNaN(number) ? number : text;
  };

  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  };

  function sort(table, column, direction) {
    const heads = table.tHead.rows[0].cells;
    if (!heads[column]) return;
    if (heads[column].hidden) {
      set("hide", table, heads[column].dataset.family, false);
      unfold(table, heads[column].dataset.metric, true);
    }
    const body = table.tBodies[0];
    const sign = direction === "descending" ? -1 : 1;
    const rows = [...body.rows].map((row, i) => [valueOf(row, column), i, row]);
    rows.sort(([a, i], [b, j]) => {
      if ((a === "") !== (b === "")) return a === "" ? 1 : -1; // nothing to sort by: last, either way
      return sign * compare(a, b) || i - j;
    });
    body.append(...rows.map((entry) => entry[2]));
    [...heads].forEach((head, i) => head.setAttribute("aria-sort", i === column ? direction : "none"));
    const name = heads[column].querySelector("button").textContent.trim().replace(/\s+/g, " ");
    status.textContent = `sorted by ${name}, ${direction}`;
    state.sort = `${table.id}:${column}:${direction}`;
    state.at = "";
  }

  // The columns of a metric's other settings.
  const others = (table, metric) =>
    [...table.tHead.rows[0].cells].map((head, i) => [head, i])
      .filter(([head]) => head.dataset.metric === metric).map(([, i]) => i).slice(1);

  // What of a table is open or away, as in the link: "TABLE:NAME,TABLE:NAME".
  const has = (key, table, name) => (state[key] ?? "").split(",").includes(`${table.id}:${name}`);

  function set(key, table, name, on) {
    const entry = `${table.id}:${name}`;
    const rest = (state[key] ?? "").split(",").filter((other) => other && other !== entry);
    state[key] = (on ? [...rest, entry] : rest).join(",");
  }

  // Hides columns of other settings that are not open, and of families that are away.
  function layOut(table) {
    const seen = new Set();
    [...table.tHead.rows[0].cells].forEach(({ dataset: { metric, family } }, i) => {
      if (!metric) return;
      const folded = seen.has(metric) && !has("open", table, metric);
      seen.add(metric);
      const hidden = folded || has("hide", table, family);
      for (const row of table.rows) row.cells[i].hidden = hidden;
    });
    for (const button of table.tHead.querySelectorAll(".fold")) {
      const { metric } = button.closest("th").dataset;
      const open = has("open", table, metric);
      button.setAttribute("aria-expanded", open);
      button.textContent = open ? "−" : `+${others(table, metric).length}`;
      button.setAttribute("aria-label", `${button.dataset.title}: ${button.textContent} other settings`);
    }
    for (const button of table.closest("[data-part]")?.querySelectorAll(".families button") ?? []) {
      button.setAttribute("aria-pressed", !has("hide", table, button.textContent));
    }
  }

  function unfold(table, metric, open) {
    set("open", table, metric, open);
    layOut(table);
  }

  function press(table, text, act) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", () => { act(button); layOut(table); remember(); });
    return button;
  }

  function fold(table) {
    const seen = new Set();
    const heads = [...table.tHead.rows[0].cells].filter((head) => head.dataset.metric);
    for (const head of heads) {
      const { metric } = head.dataset;
      if (!seen.has(metric) && others(table, metric).length) {
        const button = press(table, "", () => set("open", table, metric, !has("open", table, metric)));
        button.dataset.title = head.querySelector("span").textContent;
        button.className = "fold";
        head.append(button);
      }
      seen.add(metric);
    }
    const families = new Set(heads.map((head) => head.dataset.family));
    if (families.size > 1) {
      const row = document.createElement("div");
      row.className = "families";
      row.setAttribute("role", "group");
      row.setAttribute("aria-label", "Metrics shown");
      row.append("Metrics:", ...[...families].map((family) =>
        press(table, family, () => set("hide", table, family, !has("hide", table, family)))));
      table.closest("[role=region]").before(row);
    }
    layOut(table);
  }

  function narrow() {
    const wanted = (filter?.value ?? "").trim().toLowerCase();
    let shown = 0;
    for (const row of document.querySelectorAll("table.sortable tbody tr")) {
      row.hidden = wanted !== "" && !row.textContent.toLowerCase().includes(wanted);
      shown += !row.hidden;
    }
    for (const board of document.querySelectorAll("[data-board]")) {
      board.hidden = Boolean(which?.value) && board.dataset.board !== which.value;
    }
    for (const part of document.querySelectorAll("[data-part]")) { // a table without rows takes its figure along
      const empty = wanted !== "" && !part.querySelector("tbody tr:not([hidden])");
      part.classList.toggle("empty", empty);
    }
    state.filter = filter?.value;
    state.show = which?.value;
    status.textContent = `${shown} rows`;
    const matches = document.getElementById("matches");
    if (matches) matches.textContent = wanted ? `${shown} ${shown === 1 ? "row" : "rows"}` : "";
  }

  function remember() {
    const parts = Object.entries(state).filter(([, value]) => value);
    const hash = parts.map(([key, value]) => `${key}=${encodeURIComponent(value)}`).join("&");
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  }

  function restore() {
    const parts = new URLSearchParams(location.hash.slice(1));
    if (filter && parts.has("filter")) filter.value = parts.get("filter");
    if (which && parts.has("show") && [...which.options].some((o) => o.value === parts.get("show"))) which.value = parts.get("show");
    if (parts.has("filter") || parts.has("show")) narrow();
    for (const key of ["open", "hide"]) {
      if (!parts.has(key)) continue;
      state[key] = parts.get(key);
      document.querySelectorAll("table.sortable").forEach(layOut);
    }
    const [id, column, direction] = (parts.get("sort") ?? "").split(":");
    const table = id && document.getElementById(id);
    if (table?.tHead) {
      sort(table, Number(column), direction === "descending" ? "descending" : "ascending");
      table.scrollIntoView({ block: "center" });
    }
    const at = location.hash.includes("=") ? parts.get("at") : location.hash.slice(1);
    if (at) document.getElementById(at)?.scrollIntoView(); // after folding
  }

  // A link to a section takes nothing else out of the page's link.
  function move() {
    if (location.hash.includes("=")) return restore();
    const isPlain = Object.entries(state).every(([key, value]) => key === "at" || !value);
    state.at = location.hash.slice(1);
    if (!isPlain) remember();
  }

  const opposite = { ascending: "descending", descending: "ascending" };
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        sort(table, column, opposite[head.getAttribute("aria-sort")] ?? head.dataset.first); // best first
        remember();
      });
    });
    fold(table);
  }
  for (const table of document.querySelectorAll("table[id]")) offerFiles(table);
  for (const image of document.querySelectorAll("figure img")) {
    image.addEventListener("error", () => {
      const note = document.createElement("p");
      note.className = "lost";
      note.textContent = `${image.getAttribute("src")} is not here: a picture with photographs that may not be passed on ` +
        "is not published; `glassbench report` draws it.";
      image.replaceWith(note);
    });
  }
  // A figure that scrolls, on a narrow screen, can be reached by the keyboard.
  function reach() {
    for (const figure of document.querySelectorAll("figure")) {
      if (figure.scrollWidth > figure.clientWidth) figure.tabIndex = 0;
      else figure.removeAttribute("tabindex");
    }
  }
  window.addEventListener("resize", reach);
  reach();
  filter?.addEventListener("input", () => { narrow(); remember(); });
  which?.addEventListener("change", () => { narrow(); remember(); });
  window.addEventListener("hashchange", move);
  restore();
})();
