"use strict";
{
  const get = (id) => document.getElementById(id);
  const main = document.querySelector("main");
  const words = JSON.parse(main.dataset.words), line = +main.dataset.line, until = +main.dataset.until;
  const where = location.pathname.replace(/\/$/, "") + "/events";
  const LOST = "Connection lost. It is tried again by itself.", EXPIRED = "This link has expired. Ask for a new one.";
  let points = JSON.parse(main.dataset.points), shift = 0, source = null, held = false, over = false, again = 0, doubt = 0;

  const say = (id, text) => { if (get(id).textContent !== text) get(id).textContent = text; };
  const number = (value) => value.toLocaleString("en");

  function show(now) {
    for (const each of document.querySelectorAll("[data-n]")) each.textContent = number(now[each.dataset.n]);
    for (const each of document.querySelectorAll("[data-share]"))
      each.textContent = now.sent ? (100 * now[each.dataset.share] / now.sent).toFixed(1) + "%" : "–";
    get("bar").max = Math.max(now.recipients, 1);
    get("bar").value = now.sent;
    get("converted").hidden = !now.converted;
    say("name", now.name);
    say("state", words[now.state]);
    get("state").className = now.state;
    say("note", now.late ? "Numbers are late: the database does not answer. They go on by themselves." : "");
    moment("at", now.at, { timeStyle: "medium" });
    const seen = points.length ? points[points.length - 1][0] : 0;
    for (const point of now.points || [[now.at, now.sent, now.opened, now.clicked]]) if (point[0] > seen) points.push(point);
    shift = now.now - Date.now();
    draw();
  }

  function moment(id, at, style) {
    get(id).textContent = new Intl.DateTimeFormat("en-GB", style).format(at);
    get(id).dateTime = new Date(at).toISOString();
  }

  function draw() {
    const end = Math.max(Date.now() + shift, points.length ? points[points.length - 1][0] : 0);
    points = points.filter((point, n) => point[0] > end - line || (points[n + 1] || [0])[0] > end - line).slice(-500);
    get("lines").hidden = points.length < 2;
    if (points.length < 2) return;
    const span = Math.min(line, Math.max(end - points[0][0], 60000)), minutes = Math.ceil(span / 60000);
    say("lines-head", minutes > 1 ? "Last " + minutes + " minutes" : "Last minute");
    ["sent", "opened", "clicked"].forEach((name, n) => {
      const values = points.map((point) => point[n + 1]);
      const low = values[0], high = Math.max(...values), y = (value) => 38 - 36 * (value - low) / Math.max(high - low, 1);
      const x = (at) => Math.max(0, 300 * (1 - (end - at) / span));
      const found = points.map((point, i) => x(point[0]).toFixed(1) + "," + y(values[i]).toFixed(1));
      get("line-" + name).setAttribute("points", found.concat("300," + y(values[values.length - 1]).toFixed(1)).join(" "));
      get("more-" + name).textContent = "+" + number(values[values.length - 1] - low);
    });
  }

  function stop() {
    if (source) source.close();
    clearTimeout(again);
    clearTimeout(doubt);
    source = null;
    doubt = 0;
  }

  function finish(why) {
    over = true;
    stop();
    get("hold").hidden = true;
    say("note", why);
  }

  async function refused() {
    stop();
    if (Date.now() + shift >= until) return finish(EXPIRED);
    say("note", LOST);
    const status = await fetch(where, { method: "HEAD" }).then((answer) => answer.status, () => 0);
    if (status === 404) finish(EXPIRED);
    else if (!held && !document.hidden) again = setTimeout(start, 30000);
  }

  function start() {
    if (over || held || source || document.hidden) return;
    clearTimeout(again);
    source = new EventSource(where);
    source.onopen = () => { clearTimeout(doubt); doubt = 0; };
    source.onmessage = (event) => show(JSON.parse(event.data));
    source.addEventListener("end", (event) => {
      const why = JSON.parse(event.data).why;
      if (why !== "time") finish(why === "link" ? EXPIRED : "These numbers are final; opens and clicks may still come.");
    });
    source.onerror = () => {
      if (source && source.readyState === EventSource.CLOSED) refused();
      else doubt = doubt || setTimeout(() => say("note", LOST), 6000);  // a stream that is renewed is back before
    };
  }

  get("hold").onclick = () => {
    held = !held;
    get("hold").textContent = held ? "Go on updating" : "Pause updates";
    if (held) stop(); else start();
    say("note", held ? "Updates are paused." : "");
  };
  document.addEventListener("visibilitychange", () => { if (document.hidden) stop(); else start(); });
  get("hold").hidden = false;
  moment("at", new Date(get("at").dateTime), { timeStyle: "medium" });
  moment("until", new Date(get("until").dateTime), { dateStyle: "medium", timeStyle: "short" });
  setInterval(() => { if (source) draw(); }, 5000);
  draw();
  start();
}
