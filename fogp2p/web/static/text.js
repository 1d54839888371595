// From values to text nodes. Nothing in these files parses markup: text stays text.

// Longer texts than this are nobody's name for anything; the command line has them whole.
const LONGEST = 240;
// Characters that show nothing or turn the direction of what follows.
const UNSEEN = /[\p{Cc}\p{Cf}\u2028\u2029]/gu;

// Somebody else's text: one line, of bounded length, with nothing hidden in it.
export function plain(value) {
  const text = String(value ?? "");
  const short = text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
  return short.replace(UNSEEN, "�");
}

export function element(name, text = "", className = "") {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// A word of colour; the word itself says it, too.
export function pill(text, className) {
  return element("span", text, `pill ${className}`);
}

export function code(text) {
  return element("code", text);
}

// The end of a peer id tells peers apart; the whole one is there to hover over and to copy.
export function peerName(id) {
  const made = code(`…${plain(id).slice(-8)}`);
  made.title = plain(id);
  return made;
}

export function duration(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} m`;
  const hours = Math.floor(minutes / 60);
  return hours < 24 ? `${hours} h ${minutes % 60} m` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export function bytes(count) {
  for (const unit of ["bytes", "kB", "MB", "GB"]) {
    if (count < 1000 || unit === "GB") return `${unit === "bytes" ? count : count.toFixed(1)} ${unit}`;
    count /= 1000;
  }
  return "";
}

export function counted(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

export function timeOf(moment) {
  return moment.toLocaleTimeString("en-GB");
}

// Puts `made` in place of the children of `parent`, touching only what is different: what a reader
// has selected, or a screen reader is at, stays.
export function update(parent, made) {
  made.forEach((each, index) => {
    const old = parent.childNodes[index];
    if (old === undefined) parent.append(each);
    else if (!old.isEqualNode(each)) {
      const deeper = old.nodeName === "TR" && old.childNodes.length === each.childNodes.length;
      if (deeper) update(old, [...each.childNodes]);
      else old.replaceWith(each);
    }
  });
  while (parent.childNodes.length > made.length) parent.lastChild.remove();
}

// A row, whose cells also carry their column's name: on a narrow screen it stands beside them.
export function row(table, cells) {
  const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  const made = document.createElement("tr");
  made.setAttribute("role", "row");
  cells.forEach((content, index) => {
    const cell = document.createElement("td");
    cell.setAttribute("role", "cell");
    cell.dataset.name = names[index];
    for (const part of Array.isArray(content) ? content : [content]) cell.append(part);
    made.append(cell);
  });
  return made;
}
