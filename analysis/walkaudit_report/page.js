"use strict";
// Sorting, one filter for the page, unfolding, and fewer stops for a keyboard. Without it the page says all the same.
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
  if (target.closest(".unchosen")) document.getElementById("choose-all").click();
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  target.scrollIntoView();
}
addEventListener("hashchange", unfold);
addEventListener("click", event => { // a second click on the same link unfolds again
  const link = event.target.closest && event.target.closest('a[href^="#"]');
  if (link && link.getAttribute("href") === location.hash) unfold();
});

function stopAtScrollable() { // only what does not fit needs the keyboard to scroll
  for (const box of document.querySelectorAll(".scroll")) {
    if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight + 1) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}
addEventListener("resize", stopAtScrollable);
addEventListener("toggle", stopAtScrollable, true);
stopAtScrollable();

// One choice of vindex and case for the whole page: what is about other cases only is left out.
const vindexes = document.getElementById("choose-vindex"), cases = document.getElementById("choose-case");
function chosenCases() {
  const options = [...cases.options].slice(1);
  const own = options.filter(option => vindexes.value === "" || option.dataset.vindex === vindexes.value);
  return own.filter(option => cases.value === "" || option.value === cases.value).map(option => option.value);
}

function choose() {
  for (const option of [...cases.options].slice(1)) {
    option.hidden = option.disabled = vindexes.value !== "" && option.dataset.vindex !== vindexes.value;
  }
  if (cases.selectedOptions[0].disabled) cases.value = "";
  const chosen = new Set(chosenCases());
  for (const item of document.querySelectorAll("[data-about]")) {
    item.classList.toggle("unchosen", !item.dataset.about.split(" ").some(at => chosen.has(at)));
  }
  const all = cases.options.length - 1;
  document.getElementById("chosen").textContent = chosen.size === all ? "" : `${chosen.size} of ${all} cases shown`;
  dispatchEvent(new CustomEvent("chosen", {detail: chosen}));
}
if (cases) {
  document.getElementById("choice").hidden = false;
  vindexes.addEventListener("change", choose);
  cases.addEventListener("change", choose);
  document.getElementById("choose-all").addEventListener("click", () => {
    vindexes.value = cases.value = "";
    choose();
  });
}
unfold();
