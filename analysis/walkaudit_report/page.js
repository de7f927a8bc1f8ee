"use strict";
// Sorting, filtering, unfolding, and fewer stops for a keyboard. Without it the page says all the same.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  if (body.rows.length > 1) {
    table.tHead.querySelectorAll("th").forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sortBy(table, head, column));
      head.append(button);
    });
  }
  if (table.dataset.filter !== undefined) addFilter(table, body);
}

function keyOf(row, column) {
  const cell = row.cells[column];
  return cell.dataset.sort !== undefined ? Number(cell.dataset.sort) : cell.textContent;
}

function compare(a, b) {
  const numbers = (typeof a === "number") - (typeof b === "number");
  if (numbers !== 0) return -numbers; // what is no number comes last
  return typeof a === "number" ? (a === b ? 0 : a < b ? -1 : 1) : a.localeCompare(b, undefined, {numeric: true});
}

function sortBy(table, head, column) {
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows].map(row => [keyOf(row, column), row]);
  rows.sort(([a], [b]) => down && typeof a === typeof b ? compare(b, a) : compare(a, b));
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

function addFilter(table, body) {
  const box = document.createElement("div"), label = document.createElement("label");
  const input = document.createElement("input"), status = document.createElement("output");
  box.className = "filter";
  input.type = "search";
  label.append("Rows with ", input);
  box.append(label, status);
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    let shown = 0;
    for (const row of body.rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      shown += !row.hidden;
    }
    status.textContent = wanted ? `${shown} of ${body.rows.length}` : "";
  });
  table.closest(".scroll").before(box);
}

function unfold() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  target.scrollIntoView();
}
addEventListener("hashchange", unfold);
addEventListener("click", event => { // a second click on the same link unfolds again
  const link = event.target.closest && event.target.closest('a[href^="#"]');
  if (link && link.getAttribute("href") === location.hash) unfold();
});
unfold();

function stopAtScrollable() { // only what does not fit needs the keyboard to scroll
  for (const box of document.querySelectorAll(".scroll")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}
addEventListener("resize", stopAtScrollable);
addEventListener("toggle", stopAtScrollable, true);
stopAtScrollable();

let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const item of folded) item.open = true;
});
addEventListener("afterprint", () => { for (const item of folded) item.open = false; });
