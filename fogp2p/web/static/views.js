// What the page shows of the peer's answers.

import {bytes, code, counted, duration, element, peerName, pill, plain, row, timeOf, update} from "./text.js";

const EVENTS_SHOWN = 50;
const SERVICE_CLASS = {ready: "good", starting: "warn", waiting: "warn", "backing-off": "warn",
  stopping: "warn", stopped: "idle", failed: "bad"};
const HEALTH_CLASS = {ok: "good", degraded: "warn", failing: "bad"};

const byId = (id) => document.getElementById(id);

export function showStatus(status) {
  update(byId("peer"), [document.createTextNode(plain(status.peer_id))]);
  byId("uptime").textContent = `up ${duration(status.uptime_s)}`;
  byId("version").textContent = `Version ${plain(status.version)}.`;
  document.title = `${status.health === "ok" ? "" : `${status.health} - `}fogp2p ` +
    plain(status.peer_id).slice(-8);
  byId("now").className = HEALTH_CLASS[status.health] ?? "bad";
  const summary = byId("summary");
  if (summary.textContent !== summaryOf(status)) summary.textContent = summaryOf(status);
  update(byId("reasons"), reasonsOf(status).map(({subject, happened, hint}) => {
    const item = document.createElement("li");
    item.append(element("b", plain(subject)), ` ${plain(happened)}`);
    if (hint) item.append(element("span", plain(hint), "hint"));
    return item;
  }));
  update(byId("figures"), figuresOf(status));
  showDiscovery(status);
}

function summaryOf({health, peers_connected: peers, services, why}) {
  const company = peers > 0 ? `Connected to ${counted(peers, "peer")}`
    : why ? "Connected to nobody" : "Connected to nobody, and wants nobody";
  const parts = health === "ok" ? "All is well"
    : health === "failing" ? "It does not work: an essential part is down"
      : `It works, without ${counted(services.total - services.ready, "part")}`;
  return `${parts}. ${company}.`;
}

// Why it is not well, and why it is alone.
function reasonsOf(status) {
  const alone = {subject: "peers", happened: status.why, hint: "fogp2p doctor looks for the cause"};
  return status.why ? [...status.reasons, alone] : status.reasons;
}

function figuresOf(status) {
  const {ready, total, restarts} = status.services;
  const locked = {true: "with a passphrase", false: "not encrypted", null: "in memory only"};
  return [
    ["peers", `${status.peers_connected} of ${status.peers_wanted} wanted`],
    ["agreed on versions", String(status.peers_agreed)],
    ["parts ready", `${ready} of ${total}`],
    ["restarts of parts", String(restarts)],
    ["echoed for others", `${status.echo_messages} (${bytes(status.echo_bytes)})`],
    ["keys", `${plain(status.key_type)}, ${locked[status.key_encrypted]}`],
  ].map(([name, figure]) => {
    const made = document.createElement("div");
    made.append(element("dt", name), element("dd", figure));
    return made;
  });
}

function showDiscovery(status) {
  fill("discovery", status.discovery.map(({source, seen, problem}) =>
    [code(plain(source)), String(seen), problem ? element("span", plain(problem), "warn") : "none"]));
  update(byId("addresses"), status.addresses.map((address) => {
    const item = document.createElement("li");
    item.append(code(plain(address)));
    return item;
  }));
  byId("no-addresses").hidden = status.addresses.length > 0;
}

export function showServices(services) {
  fill("services", services.map((each) => [
    code(plain(each.name)),
    pill(plain(each.state), SERVICE_CLASS[each.state] ?? "bad"),
    duration(each.since_s),
    each.restarts > 0 ? String(each.restarts) : "",
    whyOf(each),
  ]));
}

function whyOf(service) {
  const again = service.retry_in_s === null ? "" : ` (again in ${service.retry_in_s.toFixed(1)} s)`;
  if (service.why) return plain(service.why) + again;
  return service.last_failure ? element("span", `was: ${plain(service.last_failure)}`, "soft") : "";
}

export function showPeers(peers) {
  fill("peers", peers.map((peer) => {
    const agreed = Object.entries(peer.protocols).map(([name, version]) => `${name} ${version}`);
    const warnings = peer.warnings.map((each) => element("span", plain(each), "warn aside"));
    return [
      peerName(peer.peer_id),
      `${duration(peer.connected_s)}, ${plain(peer.direction)}`,
      [peer.not_agreed ? element("span", plain(peer.not_agreed), "warn") : plain(agreed.join(", ")),
        ...warnings],
      plain(peer.software || peer.agent || "not said"),
      code(plain(peer.address)),
    ];
  }));
}

function fill(id, lines) {
  const table = byId(id);
  update(table.tBodies[0], lines.map((cells) => row(table, cells)));
  table.hidden = lines.length === 0;
  const instead = byId(`no-${id}`);
  if (instead !== null) instead.hidden = lines.length > 0;
}

// How the events that we know read; others are shown as they are.
const TOLD = {
  "peer.connected": (data) => [peerName(data.peer_id), ` ${plain(data.direction)}, `,
    code(plain(data.address))],
  "peer.identified": (data) => [peerName(data.peer_id), ` runs ${plain(data.agent)}`],
  "peer.agreed": (data) => [peerName(data.peer_id)],
  "peer.disconnected": (data) => [peerName(data.peer_id), ` ${plain(data.reason)}`],
  "service.changed": (data, parts) => [code(parts.join(", ")), " → ",
    pill(plain(data.to), SERVICE_CLASS[data.to] ?? "bad"), data.reason ? ` ${plain(data.reason)}` : ""],
  "health.changed": (data) => [`${plain(data.from)} → `,
    pill(plain(data.to), HEALTH_CLASS[data.to] ?? "bad")],
  gap: (data) => [`events ${plain(data.first)} to ${plain(data.last)} are not kept any more`],
};

// Parts that change alike one after another share a row: `parts` are in the newest one.
let newest = {like: "", parts: []};

export function showEvent({id, at, type, data}) {
  // That a part begins to start, or waits, is said by what came before it and what comes of it.
  if (type === "service.changed" && ["starting", "waiting"].includes(data.to)) return;
  const table = byId("events");
  const body = table.tBodies[0];
  const like = type === "service.changed" ? `${data.to} ${data.reason}` : "";
  const parts = like ? [plain(data.name)] : [];
  if (like && like === newest.like) {
    parts.unshift(...newest.parts);
    body.deleteRow(0);
  }
  newest = {like, parts};
  const time = element("time", timeOf(new Date(at)));
  time.title = `${plain(at)}, event ${id}`;
  const told = TOLD[type] ?? (() => [plain(JSON.stringify(data))]);
  body.prepend(row(table, [time, plain(type), told(data, parts)]));
  while (body.rows.length > EVENTS_SHOWN) body.deleteRow(-1);
  table.hidden = false;
  byId("no-events").hidden = true;
}

export function forgetEvents() {
  newest = {like: "", parts: []};
  byId("events").tBodies[0].replaceChildren();
}
