// The editor of /templates: a preview that follows what is typed, problems that lead to their line, and saving in place.
"use strict";

const form = document.getElementById("editor");
const field = document.getElementById("text");
const note = document.getElementById("note");
const state = document.getElementById("state");
const caret = document.getElementById("caret");
const problem = document.getElementById("problem");
const show = document.querySelector(".show");
const looks = document.getElementById("looks");
const WAIT = 350; // ms without a key before the preview is asked for

let saved = field.value;
let asking = false; // a preview is on its way
let late = false; // and another one is wanted behind it
let timer = 0;
let saving = false;
let place = { line: 0, file: "" }; // of the problem

const address = (name) => `/templates/${name.split("/").map(encodeURIComponent).join("/")}`;
const changed = () => field.value !== saved;

async function send(fields) {
  const answer = await fetch(location.pathname, {
    method: "POST",
    headers: { accept: "application/json", "content-type": "application/x-www-form-urlencoded" },
    body: new URLSearchParams({ text: field.value, ...fields }),
  });
  return { ok: answer.ok, ...(await answer.json()) };
}

// --- preview

async function preview() {
  if (!show) return;
  if (asking) {
    late = true;
    return;
  }
  asking = true;
  try {
    const found = await send({ do: "preview", sample: looks.sample.value, scheme: looks.scheme.value });
    tell(found.problem ?? found.note, found);
    if (!found.problem) draw(found);
    other(found.instead ?? "");
    show.classList.toggle("stale", Boolean(found.problem));
  } catch {
    tell("The twin does not answer: start it again.", { line: 0, file: "" });
  }
  asking = false;
  if (late) {
    late = false;
    preview();
  }
}

function tell(sentence, { line, file }) {
  place = { line, file };
  const [said, button] = problem.children;
  if (said.textContent !== sentence) said.textContent = sentence; // said once, not at every key
  problem.hidden = !sentence;
  button.hidden = !line && !file;
  button.textContent = file ? `Open ${file}` : `Go to line ${line}`;
}

function draw(found) {
  for (const part of show.querySelectorAll("[data-of]")) part.textContent = found[part.dataset.of];
  document.getElementById("size").textContent = `${found.size.toLocaleString("en")} bytes. `;
  show.querySelector(".bare").textContent = "This is a mail of text only.";
  const frame = show.querySelector("iframe:not(.coming)");
  if (frame.srcdoc === found.html) return;
  show.querySelector("iframe.coming")?.remove();
  const next = frame.cloneNode();
  next.classList.add("coming"); // loads unseen, so that nothing flickers, and takes over where the other was scrolled to
  next.addEventListener("load", () => {
    if (!next.isConnected) return;
    next.contentWindow.scrollTo(0, frame.contentWindow.scrollY);
    next.classList.remove("coming");
    frame.remove();
  }, { once: true });
  next.srcdoc = found.html;
  frame.after(next);
}

function other(name) {
  const told = document.getElementById("instead");
  const link = told.querySelector("a");
  told.hidden = !name;
  link.textContent = name;
  link.href = address(name);
}

// --- problems

function jump() {
  if (place.file) {
    location.href = `${address(place.file)}#${place.line}`;
  } else if (place.line) {
    go(place.line);
  }
}

function go(line) {
  const lines = field.value.split("\n");
  const start = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
  field.blur();
  field.setSelectionRange(start, start);
  field.focus(); // a browser scrolls to the caret when the field gets the focus
  field.setSelectionRange(start, start + (lines[line - 1]?.length ?? 0));
}

function where() {
  const before = field.value.slice(0, field.selectionStart).split("\n");
  caret.textContent = `Line ${before.length}, column ${before.at(-1).length + 1}`;
}

// --- saving

function mark() {
  state.textContent = changed() ? "Not saved yet" : "";
  if (changed() && location.search === "?saved") history.replaceState(null, "", location.pathname);
}

async function save() {
  if (saving) return;
  saving = true;
  const sent = field.value;
  state.textContent = "Saving …";
  try {
    const found = await send({ do: "save", hash: form.hash.value });
    note.textContent = found.note;
    note.hidden = false;
    note.classList.toggle("warn", !found.ok);
    if (found.hash) for (const one of document.getElementsByName("hash")) one.value = found.hash;
    if (found.ok) {
      saved = sent;
      history.replaceState(null, "", "?saved");
    }
  } catch {
    note.textContent = "Not saved: the twin does not answer. Start it again, then save.";
    note.hidden = false;
    note.classList.add("warn");
  }
  saving = false;
  mark();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  save();
});
field.addEventListener("input", () => {
  mark();
  clearTimeout(timer);
  timer = setTimeout(preview, WAIT);
});
document.addEventListener("selectionchange", where);
looks?.addEventListener("change", preview);
problem.addEventListener("click", jump);
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s") {
    event.preventDefault();
    save();
  } else if (event.key === "Escape") {
    const open = document.activeElement?.closest("details[open]");
    if (open) {
      open.open = false;
      open.querySelector("summary").focus();
    } else if (document.activeElement === field) {
      form.querySelector("button").focus(); // Tab goes on from here
    }
  }
});
addEventListener("beforeunload", (event) => {
  if (changed()) event.preventDefault();
});

if (show && matchMedia("(max-width: 40rem)").matches) show.querySelector("[value=phone]").click();
if (Number(location.hash.slice(1))) go(Number(location.hash.slice(1)));
if (show) preview();
