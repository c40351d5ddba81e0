"use strict";
// Sortable tables, a filter over rows, a choice of network. All of it is in the link: #sort=TABLE:COLUMN:DIRECTION,
// #filter=TEXT and #show=DATASET/TARGET, joined by "&".
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
    const body = table.tBodies[0];
    const sign = direction === "descending" ? -1 : 1;
    const rows = [...body.rows].map((row, i) => [valueOf(row, column), i, row]);
    rows.sort(([a, i], [b, j]) => {
      if ((a === "") !== (b === "")) return a === "" ? 1 : -1; // nothing to sort by: last, either way
      return sign * compare(a, b) || i - j;
    });
    body.append(...rows.map((entry) => entry[2]));
    [...heads].forEach((head, i) => head.setAttribute("aria-sort", i === column ? direction : "none"));
    const name = heads[column].textContent.trim().replace(/\s+/g, " ");
    status.textContent = `sorted by ${name}, ${direction}`;
    state.sort = `${table.id}:${column}:${direction}`;
  }

  function narrow() {
    const wanted = filter.value.trim().toLowerCase();
    let shown = 0;
    for (const row of document.querySelectorAll("table.sortable tbody tr")) {
      row.hidden = wanted !== "" && !row.textContent.toLowerCase().includes(wanted);
      shown += !row.hidden;
    }
    for (const board of document.querySelectorAll("[data-board]")) {
      board.hidden = which.value !== "" && board.dataset.board !== which.value;
    }
    state.filter = filter.value;
    state.show = which.value;
    status.textContent = `${shown} rows`;
  }

  function remember() {
    const parts = Object.entries(state).filter(([, value]) => value);
    const hash = parts.map(([key, value]) => `${key}=${encodeURIComponent(value)}`).join("&");
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  }

  function restore() {
    const parts = new URLSearchParams(location.hash.slice(1));
    if (parts.has("filter")) filter.value = parts.get("filter");
    if (parts.has("show") && [...which.options].some((o) => o.value === parts.get("show"))) which.value = parts.get("show");
    if (parts.has("filter") || parts.has("show")) narrow();
    const [id, column, direction] = (parts.get("sort") ?? "").split(":");
    const table = id && document.getElementById(id);
    if (table?.tHead) {
      sort(table, Number(column), direction === "descending" ? "descending" : "ascending");
      table.scrollIntoView({ block: "center" });
    }
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        sort(table, column, head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending");
        remember();
      });
    });
  }
  const seen = new Set(); // a network that is on several tracks is named once
  for (const option of [...which.options]) {
    if (seen.has(option.value)) option.remove();
    seen.add(option.value);
  }
  filter.addEventListener("input", () => { narrow(); remember(); });
  which.addEventListener("change", () => { narrow(); remember(); });
  window.addEventListener("hashchange", restore);
  restore();
})();
