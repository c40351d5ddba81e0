"use strict";
// Answers as CSV: person,task,answer. Nothing is sent anywhere.
(() => {
  const form = document.getElementById("answers");
  const person = document.getElementById("person");
  const csv = document.getElementById("csv");
  const tasks = [...form.querySelectorAll("[data-task]")];
  let saved = true;

  const answerOf = (task) => {
    const chosen = task.dataset.kind === "choice" ? task.querySelector(":checked") : task.querySelector("textarea, input");
    return chosen ? chosen.value.trim() : "";
  };

  const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

  function update() {
    const rows = tasks.map((task) => [person.value.trim(), task.dataset.task, answerOf(task)]);
    csv.value = [["person", "task", "answer"], ...rows].map((row) => row.map(quoted).join(",") + "\n").join("");
    const open = rows.filter((row, i) => row[2] === "" && tasks[i].dataset.kind !== "count").map((row) => row[1]);
    const asked = tasks.filter((task) => task.dataset.kind !== "count").length; // the rest counts itself
    document.getElementById("progress").textContent = `${asked - open.length} of ${asked} answered`;
    return open;
  }

  function action(task) {
    const section = task.closest("section"); // of the test whose actions are counted
    const counter = section.querySelector("[data-kind=count] input");
    if (!counter) return;
    counter.value = Number(counter.value) + 1;
    saved = false;
    update();
  }

  for (const help of form.querySelectorAll(".help")) {
    help.querySelector("summary").addEventListener("click", () => {
      if (!help.open) action(help);
    });
    const button = help.querySelector(".enlarge");
    button.addEventListener("click", () => {
      const large = help.classList.toggle("large");
      button.setAttribute("aria-pressed", String(large));
      if (large) action(help);
    });
  }

  form.addEventListener("input", () => { saved = false; update(); });
  form.addEventListener("submit", (event) => event.preventDefault()); // Enter in a field
  document.getElementById("download").addEventListener("click", () => {
    if (!form.reportValidity()) return; // no code of the person
    const open = update();
    const some = open.slice(0, 5).join(", ") + (open.length > 5 ? ", ..." : "");
    const left = open.length ? ` ${open.length} not answered yet: ${some}` : "";
    document.getElementById("left").textContent = `Downloaded.${left}`;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv.value], { type: "text/csv" }));
    const who = person.value.trim().replace(/[^\w.-]+/g, "_");
    link.download = `answers-${form.dataset.form}-${who}.csv`;
    link.click();
    saved = true;
  });
  document.getElementById("print").addEventListener("click", () => window.print());
  window.addEventListener("beforeprint", () => form.querySelectorAll(".help").forEach((help) => { help.open = true; }));
  window.addEventListener("beforeunload", (event) => { if (!saved) event.preventDefault(); });
  for (const task of tasks) {
    // actions are counted from 0: a person who opens nothing has an answer, too
    if (task.dataset.kind === "count" && form.querySelector(".help")) task.querySelector("input").value = 0;
  }
  update();
})();
