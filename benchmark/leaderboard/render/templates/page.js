"use strict";
// Sortable tables, a filter over rows, a choice of network, settings of a metric folded behind its first. All of it is
// in the link: #sort=TABLE:COLUMN:DIRECTION, #filter=TEXT, #show=DATASET/TARGET and #open=TABLE:METRIC,..., joined by "&".
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
    if (heads[column].hidden) unfold(table, heads[column].dataset.metric, true);
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
  }

  // The columns of a metric's other settings.
  const others = (table, metric) =>
    [...table.tHead.rows[0].cells].map((head, i) => [head, i])
      .filter(([head]) => head.dataset.metric === metric).map(([, i]) => i).slice(1);

  function unfold(table, metric, open) {
    const columns = others(table, metric);
    for (const row of table.rows) for (const i of columns) row.cells[i].hidden = !open;
    const button = table.tHead.querySelector(`[data-metric="${CSS.escape(metric)}"] .fold`);
    button?.setAttribute("aria-expanded", open);
    if (button) button.textContent = open ? "−" : `+${columns.length}`;
    const key = `${table.id}:${metric}`;
    const rest = (state.open ?? "").split(",").filter((entry) => entry && entry !== key);
    state.open = (open ? [...rest, key] : rest).join(",");
  }

  function fold(table) {
    for (const head of table.tHead.rows[0].cells) {
      const metric = head.dataset.metric;
      if (!metric || head.hidden || others(table, metric).length === 0) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "fold";
      button.setAttribute("aria-label", `${head.querySelector("span").textContent}: other settings`);
      button.addEventListener("click", () => {
        unfold(table, metric, button.getAttribute("aria-expanded") !== "true");
        remember();
      });
      head.append(button);
      unfold(table, metric, false);
    }
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
    for (const entry of (parts.get("open") ?? "").split(",")) {
      const [name, metric] = entry.split(":");
      const table = name && document.getElementById(name);
      if (table?.tHead && metric) unfold(table, metric, true);
    }
    const [id, column, direction] = (parts.get("sort") ?? "").split(":");
    const table = id && document.getElementById(id);
    if (table?.tHead) {
      sort(table, Number(column), direction === "descending" ? "descending" : "ascending");
      table.scrollIntoView({ block: "center" });
    }
    if (!location.hash.includes("=")) document.getElementById(location.hash.slice(1))?.scrollIntoView(); // after folding
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
  filter?.addEventListener("input", () => { narrow(); remember(); });
  which?.addEventListener("change", () => { narrow(); remember(); });
  window.addEventListener("hashchange", restore);
  restore();
})();
