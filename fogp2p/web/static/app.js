// The status page: it asks /api/v1 of the peer that served it, and follows the peer's events.
//
// Three states: live, stale (the peer does not answer), out (it wants a login). Each ends by itself.

import {timeOf} from "./text.js";
import {forgetEvents, showEvent, showPeers, showServices, showStatus} from "./views.js";

const LOOK_MS = 5_000;
// A peer on the same machine answers within milliseconds; a frozen one never.
const ANSWER_MS = 5_000;
// One look may fail: with the times above, losing the peer shows after the second, within 20 s.
// Only a look that failed can tell; time alone passes in tabs and machines that sleep, too.
const STALE_MS = 12_000;
const RECONNECT_MS = 1_000;
// Several events in a burst cause one look at the state.
const SETTLE_MS = 200;

const byId = (id) => document.getElementById(id);
let heardAt = Date.now();
let looking = false;
let again = false;
let planned = null;
let socket = null;
let lastEvent = 0;
let startedAt = null;

class LoggedOut extends Error {}

async function ask(path, signal) {
  const answer = await fetch(`/api/v1/${path}`, {headers: {Accept: "application/json"}, signal});
  if (answer.status === 401) throw new LoggedOut();
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

function setState(state, text, className) {
  document.body.dataset.state = state;
  byId("logged-out").hidden = state !== "out";
  byId("silent").hidden = state !== "stale";
  byId("main").hidden = state === "out" || state === "connecting";
  const live = byId("live");
  if (live.textContent !== text) live.textContent = text;
  live.className = `pill ${className}`;
  if (state !== "live") document.title = `${text} - fogp2p`;
}

function setLive() {
  heardAt = Date.now();
  setState("live", "live", "good");
}

// Looks at everything now; one look at a time, and another one if somebody asked meanwhile.
async function look() {
  if (looking) {
    again = true;
    return;
  }
  looking = true;
  const aborter = new AbortController();
  const late = setTimeout(() => aborter.abort(), ANSWER_MS);
  try {
    const [status, services, peers] = await Promise.all(
      ["status", "services", "peers"].map((path) => ask(path, aborter.signal)));
    setLive();
    showStatus(status);
    showServices(services.services);
    showPeers(peers.peers);
    beginAnewIfRestarted(status);
    follow();
  } catch (error) {
    // The other questions of this look are of no use any more.
    aborter.abort();
    if (error instanceof LoggedOut) setState("out", "logged out", "warn");
    else checkStale();
  } finally {
    clearTimeout(late);
    looking = false;
    lookSoon(again ? 0 : LOOK_MS);
    again = false;
  }
}

function lookSoon(delay) {
  clearTimeout(planned);
  planned = setTimeout(look, delay);
}

function checkStale() {
  if (document.body.dataset.state !== "out" && Date.now() - heardAt > STALE_MS) {
    setState("stale", `stale since ${timeOf(new Date(heardAt))}`, "bad");
  }
}

// Another process numbers its events from 1.
function beginAnewIfRestarted(status) {
  if (startedAt !== null && startedAt !== status.started_at) {
    lastEvent = 0;
    forgetEvents();
    socket?.close();
    socket = null;
  }
  startedAt = status.started_at;
}

// Follows the events from the last one seen, unless it does so already.
function follow() {
  if (socket !== null) return;
  const opened = new WebSocket(`ws://${location.host}/api/v1/ws`);
  socket = opened;
  let settling = null;
  opened.onopen = () => opened.send(JSON.stringify({since: lastEvent}));
  opened.onmessage = (message) => {
    if (socket !== opened) return;
    const event = JSON.parse(message.data);
    lastEvent = event.id;
    showEvent(event);
    settling ??= setTimeout(() => {
      settling = null;
      lookSoon(0);
    }, SETTLE_MS);
  };
  opened.onclose = () => {
    if (socket !== opened) return;
    socket = null;
    // Looking tells why it closed, and follows again.
    if (document.body.dataset.state !== "out") lookSoon(RECONNECT_MS);
  };
}

document.addEventListener("visibilitychange", () => lookSoon(0));
look();
