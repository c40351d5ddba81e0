"use strict";
// A table of the page as CSV, numbers with all their digits, and as LaTeX (booktabs), as it is written on the page.
// exports.py makes the same texts of a board.

const WORDS = { "↓": "lower is better", "↑": "higher is better", "‡": "does not count" };
const LATEX = {
  "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "&": "\\&", "%": "\\%", "$": "\\$", "#": "\\#", "_": "\\_",
  "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}",
  '"': "\\textquotedbl{}", "↓": "$\\downarrow$", "↑": "$\\uparrow$", "‡": "$\\ddagger$", "≈": "$\\approx$", "τ": "$\\tau$",
  "−": "$-$", "–": "--", "·": "$\\cdot$", "×": "$\\times$", "≤": "$\\leq$", "≥": "$\\geq$", "±": "$\\pm$", "§": "\\S{}",
  "\u00a0": "~", "…": "\\dots{}",
};
const LONG = 40; // rows; a longer table runs over several pages
const WIDE = 6; // columns; a wider one is scaled to the line

const latex = (text) => [...text.replace(/(?<![\w)])-(?=\d)/g, "−")].map((letter) => LATEX[letter] ?? letter).join("");
const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const line = (cells) => cells.map(quoted).join(",") + "\n";
const plain = (node) => node.textContent.trim().replace(/\s+/g, " ");

// The text of a cell and of the notes in it, which are on lines of their own.
function parts(cell) {
  const copy = cell.cloneNode(true);
  for (const button of copy.querySelectorAll(".what, .fold, .badge")) button.remove();
  const notes = [...copy.querySelectorAll("small")].map((note) => { note.remove(); return plain(note); });
  const divisions = [...copy.querySelectorAll("div")].map(plain);
  return [divisions.join(", ") || plain(copy), ...notes].filter(Boolean);
}

function shown(table) {
  const rows = [...table.rows].filter((row) => !row.hidden).map((row) => [...row.cells].filter((cell) => !cell.hidden));
  const body = [...table.tBodies[0].rows].filter((row) => !row.hidden).length;
  return { head: rows[0], body: rows.slice(1, 1 + body), foot: rows.slice(1 + body) };
}

function headings(head, body, column) {
  const [title, ...notes] = parts(head);
  const signs = Object.keys(WORDS).filter((sign) => title.includes(sign));
  const name = [[...title].filter((letter) => !(letter in WORDS)).join("").trim(), ...notes].join(", ");
  const heading = [name, ...signs.map((sign) => WORDS[sign])].join(", ");
  const cells = body.map((row) => row[column]);
  const more = ["low", "high", "mark"].filter((key) => cells.some((cell) => key in cell.dataset));
  return [heading, more.map((key) => [`${name}: ${key}`, key])];
}

function value(cell) {
  const { sort } = cell.dataset;
  if (sort && !Number.isNaN(Number(sort))) return sort;
  return parts(cell).filter((text) => text !== "–").join("; ");
}

function asCsv(table) {
  const { head, ...rest } = shown(table);
  const body = [...rest.body, ...rest.foot];
  const columns = head.map((cell, i) => headings(cell, body, i));
  const titles = columns.flatMap(([heading, more]) => [heading, ...more.map(([title]) => title)]);
  const lines = body.map((row) => columns.flatMap(([, more], i) =>
    [value(row[i]), ...more.map(([, key]) => row[i].dataset[key] ?? "")]));
  return [titles, ...lines].map(line).join("");
}

function latexCell(cell) {
  const [text, ...notes] = parts(cell).map(latex);
  if (text === undefined) return "";
  const isName = cell.matches("tr.control > th");
  const written = cell.matches("[data-mark=best]") ? `\\textbf{${text}}` : isName ? `\\textit{${text}}` : text;
  return [written, ...notes.map((note) => `{\\scriptsize ${note}}`)].join(" ");
}

function latexHead(cell) {
  const [title, ...notes] = parts(cell).map(latex);
  if (!notes.length) return title;
  return `\\shortstack[r]{${title}\\\\{\\scriptsize ${notes.join(", ")}}}`;
}

function captionOf(table) {
  const region = table.closest("[role=region]").getAttribute("aria-label");
  const caption = table.caption ? plain(table.caption) : "";
  return [region, caption].filter(Boolean).join(": ").replace(/\.$/, "");
}

function columnsOf(table, { head, body }) {
  if (!table.matches(".text")) return "l" + "r".repeat(head.length - 1);
  const width = (0.85 / head.length).toFixed(2);
  const isNumber = (i) => body.every((row) => row[i].matches(".num"));
  return head.map((_, i) => (isNumber(i) ? "r" : `p{${width}\\linewidth}`)).join("");
}

function asLatex(table) {
  const cells = shown(table);
  const row = (line) => `${line.map(latexCell).join(" & ")} \\\\`;
  const about = [`\\caption{${latex(captionOf(table))}.}`, `\\label{tab:${table.id}}`];
  const head = ["\\toprule", `${cells.head.map(latexHead).join(" & ")} \\\\`, "\\midrule"];
  const foot = cells.foot.length ? ["\\midrule", ...cells.foot.map(row)] : [];
  const rows = [...cells.body.map(row), ...foot, "\\bottomrule"];
  const columns = columnsOf(table, cells);
  if (table.matches(".text") || cells.body.length > LONG) {
    const lines = ["% \\usepackage{booktabs,longtable}", `\\begin{longtable}{${columns}}`, ...about];
    lines[lines.length - 1] += " \\\\";
    return [...lines, ...head, "\\endhead", ...rows, "\\end{longtable}", ""].join("\n");
  }
  const tabular = [`\\begin{tabular}{${columns}}`, ...head, ...rows, "\\end{tabular}"];
  if (cells.head.length > WIDE) {
    tabular.unshift("\\resizebox{\\linewidth}{!}{%");
    tabular[tabular.length - 1] += "}";
  }
  const lines = ["% \\usepackage{booktabs,graphicx}", "\\begin{table}", "\\centering", ...about, ...tabular];
  return [...lines, "\\end{table}", ""].join("\n");
}

const FILES = {
  csv: { title: "CSV", type: "text/csv", text: asCsv },
  tex: { title: "LaTeX", type: "text/x-tex", text: asLatex },
};

// Buttons below a table, whose files are made when one is pressed.
function offerFiles(table) {
  const region = table.closest("[role=region]");
  const row = document.createElement("p");
  row.className = "files";
  for (const [ending, { title, type, text }] of Object.entries(FILES)) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = title;
    button.setAttribute("aria-label", `${title} of the table: ${region.getAttribute("aria-label")}`);
    button.addEventListener("click", () => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text(table)], { type: `${type};charset=utf-8` }));
      link.download = `${table.id}.${ending}`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
      document.getElementById("status").textContent = `${link.download} is made`;
    });
    row.append(button);
  }
  region.after(row);
}
