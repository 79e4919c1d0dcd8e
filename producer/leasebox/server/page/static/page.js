// What the page does beyond showing: it keeps its figures fresh, and follows a running job's output.
"use strict";

const RENEW_MS = 5000;
const AGAIN_MS = 2000;
const MAX_CHARS = 1 << 20;
// As `wording.visible` on the server.
const SGR = /\x1b\[[0-9;:]*m/g;
const UNSEEN = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

function named(character) {
  const code = character.charCodeAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  return code === 0x7f ? "\u2421" : `\u2039U+${code.toString(16).toUpperCase().padStart(4, "0")}\u203a`;
}

function visible(text) {
  return text.replace(SGR, "").replaceAll("\r\n", "\n").replace(UNSEEN, named);
}

// Put each part that is marked live in place of its older self; what somebody is using stays as it is.
async function renew() {
  // What a job wrote comes by its events; once is enough.
  const address = output === null ? location.href : `${location.pathname}?output=false`;
  const answer = await fetch(address, { cache: "no-store" }).catch(() => null);
  if (answer === null) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  // The key has ended, or another tab has signed out.
  if (fresh.getElementById("key") !== null) location.reload();
  if (!answer.ok) return;
  for (const part of [...document.querySelectorAll("[data-live]"), document.querySelector("footer")]) {
    const newer = part.id ? fresh.getElementById(part.id) : fresh.querySelector("footer");
    if (newer && !part.contains(document.activeElement)) part.replaceWith(document.adoptNode(newer));
  }
}

function keepFresh() {
  setInterval(() => {
    const isOver = document.getElementById("facts")?.dataset.state === "finished";
    if (!isOver && !document.hidden && String(getSelection()) === "") renew();
  }, RENEW_MS);
}

function follow() {
  const live = document.getElementById("live");
  let cursor = output.dataset.after;
  let shown = output.textContent.length;
  let isDone = false;
  let source = null;

  function say(text, isOn) {
    if (live.textContent !== text) live.textContent = text;
    live.classList.toggle("on", isOn);
  }

  function write(kind, text) {
    if (text === "") return;
    const isAtEnd = output.scrollHeight - output.scrollTop - output.clientHeight < 40;
    const last = output.lastElementChild;
    const place = last !== null && kind !== "note" && last.className === kind && last.textContent.length < 16384
      ? last : output.appendChild(document.createElement("span"));
    place.className = kind;
    place.append(visible(text));
    shown += text.length;
    while (shown > MAX_CHARS && output.childElementCount > 1) {
      shown -= output.firstElementChild.textContent.length;
      output.firstElementChild.remove();
      document.getElementById("cut").hidden = false;
    }
    document.getElementById("silent").hidden = true;
    if (isAtEnd) output.scrollTop = output.scrollHeight;
  }

  function hear(type, tell) {
    source.addEventListener(type, (event) => {
      cursor = event.lastEventId;
      tell(JSON.parse(event.data));
    });
  }

  function open() {
    source = new EventSource(`${output.dataset.events}?after=${encodeURIComponent(cursor)}`);
    source.onopen = () => say("live", true);
    source.onerror = () => {
      if (isDone) return;
      say("connection lost; it goes on by itself", false);
      // A refusal ends the source: whether the job is over, the page itself says.
      if (source.readyState === EventSource.CLOSED) setTimeout(again, AGAIN_MS);
    };
    const text = (data) => data.decoded ?? data.text ?? "";
    hear("stdout", (data) => write("out", text(data)));
    hear("stderr", (data) => write("err", text(data)));
    hear("queued", () => {});
    hear("started", (data) => {
      write("note", `started on ${data.node}${data.attempt > 1 ? `, attempt ${data.attempt}` : ""}`);
      renew();
    });
    hear("retried", (data) => write("note", `given up and tried again: ${data.reason}`));
    hear("session_restarted", (data) => write("note", `the session began anew: ${data.reason}`));
    hear("display", (data) => write("note", `displayed ${Object.keys(data.bundle).join(", ") || "nothing"}`));
    hear("input", (data) => write("note", `asks for input: ${data.prompt}`));
    hear("finished", () => {
      isDone = true;
      source.close();
      say("ended", false);
      document.getElementById("silent").textContent = "It wrote nothing.";
      renew();
    });
  }

  async function again() {
    await renew();
    if (document.hidden) return;
    if (document.getElementById("facts").dataset.state === "finished") {
      say("ended; load the page again for its output", false);
    } else {
      open();
    }
  }

  // A browser has six connections to one host: tabs that nobody looks at must not hold them.
  document.addEventListener("visibilitychange", () => {
    if (isDone) return;
    source.close();
    if (!document.hidden) open();
  });
  output.scrollTop = output.scrollHeight;
  open();
}

const output = document.getElementById("output");
if (output?.dataset.events) follow();
if (document.querySelector("[data-live]") !== null) keepFresh();
