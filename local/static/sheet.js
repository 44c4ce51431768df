// The grid of /sheet: select, edit, paste, and fresh results every two seconds without losing an edit in progress.
"use strict";

const box = document.getElementById("grid");
const table = box.querySelector("table");
const where = document.getElementById("where");
const source = document.getElementById("source");
const told = document.getElementById("told");
const hint = document.getElementById("hint");
const charts = document.getElementById("charts");
const you = document.getElementById("you");
const tab = box.dataset.tab;

let sheet = null; // the last full answer of /sheet/data
let at = { row: 2, column: 1 }; // the active cell
let end = { row: 2, column: 1 }; // the other corner of the selection
let editor = null; // {row, column, field} while a cell is open
let writing = 0; // edits on their way

const letters = (column) => (column ? letters(Math.floor((column - 1) / 26)) + String.fromCharCode(65 + ((column - 1) % 26)) : "");
const text = (row, column) => sheet.values[row - 1]?.[column - 1] ?? "";
const formula = (row, column) => sheet.formulas[`${row},${column}`];
const cell = (row, column) => table.tBodies[0]?.rows[row - 1]?.cells[column];
const typed = (row, column) => formula(row, column) ?? text(row, column); // what an editor starts with
const within = (box, row, column) => row >= box.top && column >= box.left && row <= (box.bottom || row) && column <= (box.right || column);
const guard = (row, column) => sheet.guarded.find((box) => within(box, row, column));
const fixed = (row, column) => sheet.readonly || sheet.locked.has(`${row},${column}`) || Boolean(guard(row, column));
const rule = (row, column) => sheet.rules.findLast((box) => within(box, row, column)); // choices; none of them is a checkbox
const boxed = (row, column) => rule(row, column)?.choices.length === 0;
const shaded = (row, column) => sheet.bands.some((box) => within(box, row, column) && (row - box.top) % 2 === 0);
const wrapped = (row, column) => sheet.wraps.findLast((box) => within(box, row, column))?.wrap;
const says = (row, column) => [sheet.notes[`${row},${column}`], rule(row, column)?.hint, guard(row, column)?.hint].filter(Boolean).join(" ");

function size() {
  const used = Math.max(0, ...sheet.values.map((row) => row.length));
  const spare = sheet.readonly ? [0, 0] : [20, 1];
  return {
    rows: Math.min(sheet.tab.rows, Math.max(sheet.values.length + spare[0], sheet.readonly ? 15 : 30)),
    columns: Math.min(sheet.tab.columns, Math.max(used + spare[1], 8)),
  };
}

function build() {
  const { rows, columns } = size();
  if (table.tBodies[0]?.rows.length === rows && table.tHead.rows[0].cells.length === columns + 1) return;
  const head = document.createElement("thead");
  const top = head.insertRow();
  const body = document.createElement("tbody");
  const header = (parent, scope, content) => {
    const th = parent.appendChild(document.createElement("th"));
    if (scope) th.scope = scope;
    th.textContent = content;
  };
  const sizes = document.createElement("colgroup");
  sizes.append(document.createElement("col"));
  for (let column = 1; column <= columns; column++) sizes.append(document.createElement("col"));
  header(top, "", "");
  for (let column = 1; column <= columns; column++) header(top, "col", letters(column));
  for (let row = 1; row <= rows; row++) {
    const line = body.insertRow();
    header(line, "row", row);
    for (let column = 1; column <= columns; column++) line.insertCell().id = `c${row}-${column}`;
  }
  table.replaceChildren(sizes, head, body);
}

function shape() { // widths, and which columns stay in sight
  const columns = table.tHead.rows[0].cells.length - 1, narrow = matchMedia("(max-width: 40rem)").matches;
  let left = table.tHead.rows[0].cells[0].offsetWidth;
  const styles = [];
  for (let column = 1; column <= columns; column++) {
    const width = narrow ? Math.min(sheet.widths[column], 224) : sheet.widths[column]; // a phone shows it beside the ID
    const place = `.grid table tr > :nth-child(${column + 1})`;
    if (width) styles.push(`${place} { min-width: ${width}px; max-width: ${width}px; }`);
    if (column <= sheet.frozen_columns && (!narrow || column === 1)) {
      styles.push(`${place} { position: sticky; left: ${left}px; z-index: 2; } .grid table :is(thead tr, tbody tr:first-child) > :nth-child(${column + 1}) { z-index: 4; }`);
      left += width || table.tHead.rows[0].cells[column].offsetWidth;
    }
  }
  shapes.textContent = styles.join("\n");
}
const shapes = document.head.appendChild(document.createElement("style"));

function draw() {
  const drawn = JSON.stringify(sheet.charts);
  if (charts.dataset.drawn === drawn) return;
  charts.dataset.drawn = drawn;
  charts.hidden = !sheet.charts.length;
  charts.replaceChildren(...sheet.charts.map(({ title, svg }) => {
    const figure = document.createElement("figure");
    figure.innerHTML = svg; // made and escaped by the twin
    figure.appendChild(document.createElement("figcaption")).textContent = title;
    return figure;
  }));
}

const self = () => you.value || sessionStorage.getItem("you") || "";

function introduce() { // whom the reader of this page may be, where cells are protected
  const { people } = sheet;
  document.getElementById("people").hidden = !people.length;
  if ([...you.options].map((option) => option.value).join() === people.join()) return;
  const before = self();
  you.replaceChildren(...people.map((person) => new Option(person)));
  if (people.includes(before)) you.value = before;
}
you.addEventListener("change", () => {
  sessionStorage.setItem("you", you.value);
  refresh(true);
});

function paint() {
  introduce();
  build();
  shape();
  draw();
  for (const [index, line] of [...table.tBodies[0].rows].entries()) {
    for (let column = 1; column < line.cells.length; column++) {
      const row = index + 1, td = line.cells[column], content = text(row, column);
      if (editor?.row === row && editor.column === column) continue;
      const tick = boxed(row, column) && (content === "" || content === "TRUE" || content === "FALSE");
      const seen = tick ? (content === "TRUE" ? "☑" : "☐") : content;
      if (td.textContent !== seen) td.textContent = seen;
      const title = [content, says(row, column)].filter(Boolean).join("\n");
      if (td.title !== title) td.title = title;
      const colour = sheet.colours[`${row},${column}`] ?? "";
      td.style.setProperty("--tint", colour || "none");
      td.ariaReadOnly = fixed(row, column) ? "true" : null;
      const kind = [
        row > 1 && fixed(row, column) && !sheet.readonly ? "computed" : "",
        shaded(row, column) && row > 1 ? "shaded" : "",
        colour ? "tinted" : "",
        wrapped(row, column) ? "wrapped" : "",
        sheet.notes[`${row},${column}`] ? "noted" : "",
        /^-?[\d.,]+%?$/.test(content) ? "number" : "",
        rule(row, column)?.choices.length ? "chosen" : "",
      ].filter(Boolean).join(" ");
      if (td.className !== kind) td.className = kind;
    }
  }
  mark();
}

function corners() {
  return {
    top: Math.min(at.row, end.row), bottom: Math.max(at.row, end.row),
    left: Math.min(at.column, end.column), right: Math.max(at.column, end.column),
  };
}

function mark() {
  for (const td of table.querySelectorAll("td.active, td.picked")) td.classList.remove("active", "picked");
  const { top, bottom, left, right } = corners();
  const several = top !== bottom || left !== right;
  if (several) for (let row = top; row <= bottom; row++) for (let column = left; column <= right; column++) cell(row, column)?.classList.add("picked");
  cell(at.row, at.column)?.classList.add("active");
  box.setAttribute("aria-activedescendant", `c${at.row}-${at.column}`);
  where.textContent = several ? `${letters(left)}${top}:${letters(right)}${bottom}` : letters(at.column) + at.row;
  source.textContent = fixed(at.row, at.column) ? text(at.row, at.column) : typed(at.row, at.column);
  source.title = source.textContent;
  const said = says(at.row, at.column) || (at.row > 1 && sheet.notes[`1,${at.column}`]) || "";
  if (hint.textContent !== said) hint.textContent = said;
  hint.hidden = !said;
}

function select(row, column, extend = false) {
  const { rows, columns } = size();
  const place = { row: Math.min(Math.max(row, 1), rows), column: Math.min(Math.max(column, 1), columns) };
  if (extend) end = place;
  else at = end = place;
  mark();
  const td = cell(place.row, place.column);
  const first = table.tBodies[0].rows[0];
  const side = first.cells[0].offsetWidth + (place.column > 1 ? first.cells[1].offsetWidth : 0);
  const above = table.tHead.offsetHeight + (place.row > 1 ? first.offsetHeight : 0);
  const x = td.offsetLeft, y = td.offsetTop;
  if (place.column > 1 && x - side < box.scrollLeft) box.scrollLeft = x - side;
  else if (x + td.offsetWidth > box.scrollLeft + box.clientWidth) box.scrollLeft = x + td.offsetWidth - box.clientWidth;
  if (place.row > 1 && y - above < box.scrollTop) box.scrollTop = y - above;
  else if (y + td.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = y + td.offsetHeight - box.clientHeight;
}

function tell(sentence) {
  told.textContent = sentence;
  told.hidden = !sentence;
}

async function post(path, body) {
  writing++;
  try {
    const answer = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ tab, you: self(), ...body }) });
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error);
    tell(found.kept?.length ? `${found.kept.length} of these cells are headers or computed and were left as they are.` : "");
    return true;
  } catch (error) {
    tell(`Not saved: ${error instanceof TypeError ? "the twin does not answer. Is it still running?" : error.message}`);
    return false;
  } finally {
    writing--;
    await refresh(true);
  }
}

async function save(cells) {
  const changed = cells.filter(([row, column, value]) => value !== typed(row, column));
  if (!changed.length) return;
  for (const [row, column, value] of changed) {
    const td = cell(row, column);
    if (td && !fixed(row, column)) {
      td.textContent = value;
      td.classList.add("saving");
    }
  }
  await post("/sheet/edit", { cells: changed });
}

function open(start = null) {
  const { row, column } = at;
  if (fixed(row, column)) {
    tell(guard(row, column)?.hint ? guard(row, column).hint : sheet.readonly ? `${tab} is written by the system.` : row === 1 ? "The header row stays as it is." : "This cell is computed.");
    return;
  }
  const td = cell(row, column);
  if (boxed(row, column)) return void save([[row, column, text(row, column) === "TRUE" ? "FALSE" : "TRUE"]]);
  const choices = rule(row, column)?.choices;
  const field = document.createElement(choices ? "select" : "input");
  for (const choice of choices ? ["", ...choices] : []) field.add(new Option(choice, choice));
  if (choices && text(row, column) && !choices.includes(text(row, column))) field.add(new Option(text(row, column)));
  field.value = start !== null && !choices ? start : typed(row, column);
  field.setAttribute("aria-label", `${letters(column)}${row}`);
  tell("");
  td.classList.add("open");
  td.replaceChildren(field);
  editor = { row, column, field };
  field.addEventListener("blur", () => close(true));
  if (choices) field.addEventListener("change", () => { close(true); box.focus(); });
  field.focus();
  if (choices) { try { field.showPicker(); } catch { /* the list opens with a click or Space instead */ } }
}

function close(keep) {
  if (!editor) return;
  const { row, column, field } = editor;
  const value = field.value;
  editor = null;
  cell(row, column).textContent = text(row, column);
  cell(row, column).classList.remove("open");
  paint();
  if (keep) save([[row, column, value]]);
}

box.addEventListener("keydown", (event) => {
  if (!sheet) return;
  const key = event.key;
  if (editor) {
    if (key !== "Enter" && key !== "Tab" && key !== "Escape") return;
    event.preventDefault();
    close(key !== "Escape");
    box.focus();
    if (key === "Enter") select(at.row + (event.shiftKey ? -1 : 1), at.column);
    if (key === "Tab") select(at.row, at.column + (event.shiftKey ? -1 : 1));
    return;
  }
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], PageUp: [-15, 0], PageDown: [15, 0] };
  if (steps[key]) {
    const from = event.shiftKey ? end : at;
    select(from.row + steps[key][0], from.column + steps[key][1], event.shiftKey);
  } else if (key === "Tab") {
    const next = at.column + (event.shiftKey ? -1 : 1);
    if (next < 1 || next > size().columns) return; // the focus leaves the grid at its edge
    select(at.row, next);
  } else if (key === "Home") select(event.ctrlKey ? 1 : at.row, 1);
  else if (key === "Enter" || key === "F2") open();
  else if (key === "Escape") select(at.row, at.column);
  else if (key === "Delete" || key === "Backspace") {
    const { top, bottom, left, right } = corners();
    const cells = [];
    for (let row = top; row <= bottom; row++) for (let column = left; column <= right; column++) cells.push([row, column, ""]);
    save(cells);
  } else if (key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey) open(key);
  else return;
  event.preventDefault();
});

box.addEventListener("pointerdown", (event) => {
  const td = event.target.closest("td");
  if (!td || !sheet || event.target.closest("input, select")) return;
  const row = td.parentNode.rowIndex, column = td.cellIndex;
  const again = event.pointerType !== "mouse" && at.row === row && at.column === column && !editor;
  if (editor) close(true);
  if (event.pointerType === "mouse") event.preventDefault();
  box.focus({ preventScroll: true });
  if (again) td.dataset.again = "1";
  else select(row, column, event.shiftKey);
});
box.addEventListener("click", (event) => {
  const td = event.target.closest("td");
  if (td?.dataset.again) {
    delete td.dataset.again;
    open();
  } else if (event.target.closest("td.chosen") && !editor && !fixed(at.row, at.column) && !event.shiftKey) open();
});
box.addEventListener("dblclick", (event) => {
  if (event.target.closest("td") && sheet && !editor) open();
});
box.addEventListener("pointermove", (event) => {
  const td = event.target.closest("td");
  if (td && sheet && !editor && event.buttons === 1 && event.pointerType === "mouse") select(td.parentNode.rowIndex, td.cellIndex, true);
});

function split(content, mark) {
  const rows = [[""]];
  let quoted = false;
  for (let place = 0; place < content.length; place++) {
    const sign = content[place], row = rows[rows.length - 1];
    if (quoted && sign === '"' && content[place + 1] === '"') { row[row.length - 1] += '"'; place++; }
    else if (quoted) { if (sign === '"') quoted = false; else row[row.length - 1] += sign; }
    else if (sign === '"' && row[row.length - 1] === "") quoted = true;
    else if (sign === mark) row.push("");
    else if (sign === "\n") rows.push([""]);
    else row[row.length - 1] += sign;
  }
  return rows;
}

function pasted(content) { // tabs as spreadsheets copy them; else CSV when several lines agree on their number of commas
  const plain = content.replace(/\r\n?/g, "\n").replace(/\n+$/, "");
  if (plain.includes("\t")) return split(plain, "\t");
  const csv = split(plain, ",");
  if (csv.length > 1 && csv[0].length > 1 && csv.every((row) => row.length === csv[0].length)) return csv;
  return plain.includes("\n") ? plain.split("\n").map((line) => [line]) : [[plain]];
}

box.addEventListener("paste", (event) => {
  const content = event.clipboardData.getData("text/plain");
  if (!sheet || (editor && !/[\t\n]/.test(content.trim()))) return; // a word goes into the open cell
  event.preventDefault();
  close(false);
  box.focus();
  const { top, left } = corners();
  const rows = pasted(content);
  save(rows.flatMap((row, down) => row.map((value, right) => [top + down, left + right, value])));
  end = { row: top + rows.length - 1, column: left + Math.max(...rows.map((row) => row.length)) - 1 };
  mark();
});
box.addEventListener("copy", (event) => {
  if (editor || !sheet) return;
  event.preventDefault();
  const { top, bottom, left, right } = corners();
  const quote = (value) => (/[\t\n"]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const rows = [];
  for (let row = top; row <= bottom; row++) {
    const line = [];
    for (let column = left; column <= right; column++) line.push(quote(text(row, column)));
    rows.push(line.join("\t"));
  }
  event.clipboardData.setData("text/plain", rows.join("\n"));
});

for (const button of document.querySelectorAll("[data-rows]")) {
  button.addEventListener("click", async () => {
    const action = button.dataset.rows;
    await post("/sheet/rows", { action, at: action.startsWith("sort") ? at.column : at.row });
    box.focus();
  });
}

async function refresh(whole = false) {
  if (!whole && (writing || document.hidden)) return;
  try {
    const query = new URLSearchParams({ tab, you: self(), revision: whole ? "" : sheet?.revision ?? "" });
    const answer = await fetch(`/sheet/data?${query}`);
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error);
    if (found.values && !writing) {
      sheet = { ...found, locked: new Set(found.locked) };
      paint();
    }
  } catch (error) {
    tell(error instanceof TypeError ? "The twin does not answer. Is it still running?" : error.message);
  }
}

refresh(true);
setInterval(refresh, 2000);
document.querySelector(".sheet-tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
