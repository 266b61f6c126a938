// The plain page of Netra; the wire is docs/wire.md. Whatever a user or the server says becomes text nodes, never HTML.
// The session is a cookie that this script cannot read; what changes something goes with a code besides (`csrf`).

const DEFAULT_QUESTION = "Analyze my AI costs and recommend savings";
const MOST_ROWS = 20;
const PING_EVERY_MS = 20_000;
const LONGEST_WAIT_MS = 15_000;

// --- The document ---------------------------------------------------------------------------------------------------

const $ = (id) => document.getElementById(id);

function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function notify(text, kind = "") {
  const notice = h("div", { class: `notice ${kind}` }, h("span", {}, text));
  notice.append(h("button", { type: "button", class: "quiet", "aria-label": "Dismiss", onclick: () => notice.remove() }, "✕"));
  $("notices").replaceChildren(notice);
}

const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 2, hourCycle: "h23",
});
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const plural = (count, noun) => `${count.toLocaleString()} ${noun}${count === 1 ? "" : "s"}`;
const dollars = (amount) => (amount.startsWith("-") ? `-$${amount.slice(1)}` : `$${amount}`);
const pretty = (value) => JSON.stringify(value, null, 2);

function uuid() {
  // crypto.randomUUID is missing on plain http to another host than this one.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

// --- Session and HTTP -----------------------------------------------------------------------------------------------

let session = null; // {user, csrf} while signed in

class Problem extends Error {
  constructor(status, body) {
    super(body?.detail || body?.title || (status ? `The server answered ${status}.` : "The server cannot be reached."));
    this.status = status;
    this.code = body?.code;
    this.errors = Array.isArray(body?.errors) ? body.errors : [];
  }
}

async function call(method, path, { csrf, json, body, type } = {}) {
  const headers = {};
  if (csrf) headers["X-Netra-CSRF"] = csrf;
  if (json) [body, type] = [JSON.stringify(json), "application/json"];
  if (type) headers["Content-Type"] = type;
  let response, text;
  try {
    response = await fetch(path, { method, headers, body, credentials: "same-origin", cache: "no-store" });
    text = await response.text();
  } catch {
    throw new Problem(0);
  }
  let answer = null;
  try {
    answer = text ? JSON.parse(text) : null;
  } catch { /* a proxy's page: the status says enough */ }
  if (!response.ok) throw new Problem(response.status, answer);
  return answer;
}

async function api(method, path, options = {}) {
  const mine = session;
  try {
    return await call(method, path, { ...options, csrf: mine.csrf });
  } catch (error) {
    if (session !== mine || (error.status !== 401 && error.code !== "forged_page_request")) throw error;
    await checkSession(); // the cookie may be another one since, of this user or not
    if (session !== mine) throw error;
    return call(method, path, { ...options, csrf: mine.csrf });
  }
}

function checkSession() {
  const mine = session;
  mine.checking ??= call("GET", "/auth/session")
    .then((found) => {
      if (session !== mine) return;
      mine.csrf = found.csrf_token;
      if (found.user_id !== mine.user) leave("Somebody else has signed in here. Please sign in again.");
    })
    .catch((error) => {
      if (session === mine && error.status === 401) leave("Your session has ended. Please sign in again.");
      throw error;
    })
    .finally(() => { mine.checking = null; });
  return mine.checking;
}

// --- The socket -----------------------------------------------------------------------------------------------------

let socket = null;
let ready = false; // connection_ready has come on `socket`
let attempts = 0;
let heardAt = 0;
let retry = 0;
const unaccepted = new Map(); // client_message_id -> user_message frame

function showStatus(text, kind) {
  $("status").textContent = text;
  $("status").className = `status ${kind}`;
}

function tell(frame) {
  socket.send(JSON.stringify(frame));
}

function connect() {
  clearTimeout(retry);
  const mine = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`, ["netra.v1"]);
  socket = mine;
  heardAt = Date.now();
  showStatus("Connecting…", "");
  mine.onmessage = ({ data }) => {
    heardAt = Date.now();
    if (socket === mine) receive(JSON.parse(data));
  };
  mine.onclose = ({ code }) => socket === mine && lost(code);
}

function disconnect() {
  const old = socket;
  [socket, ready] = [null, false];
  clearTimeout(retry);
  old?.close();
}

function lost(code) {
  disconnect();
  if (code === 4403) return leave("The connection belonged to another account. Please sign in again.");
  const wait = Math.min(LONGEST_WAIT_MS, 500 * 2 ** attempts) * (0.5 + Math.random() / 2);
  attempts += 1;
  showStatus(code === 4429 ? "Too many connections" : "Reconnecting…", "off");
  retry = setTimeout(async () => {
    try {
      if (code === 4401) await checkSession();
    } catch {
      return session && lost(code);
    }
    if (session) connect();
  }, wait);
  return undefined;
}

function watchOver() {
  if (!session || !socket) return;
  if (Date.now() - heardAt > 2.2 * PING_EVERY_MS) lost(0);
  else if (ready) tell({ type: "ping" });
}

function receive(frame) {
  if (frame.type === "connection_ready") {
    ready = true;
    showStatus("Live", "live");
    const mine = socket;
    setTimeout(() => { if (socket === mine) attempts = 0; }, 5_000);
    if (thread.stored) resume();
    for (const message of unaccepted.values()) tell(message);
  } else if (frame.type === "message_accepted") {
    settle(frame.client_message_id);
    if (frame.thread_id === thread.id) thread.stored = true;
    loadThreads();
  } else if (frame.type === "error" && frame.code === "seq_ahead") {
    if (frame.thread_id === thread.id) openThread(thread.id);
  } else if (frame.type === "error") {
    const refused = unaccepted.get(frame.client_message_id);
    settle(frame.client_message_id);
    if (refused && !$("question").value) $("question").value = refused.text;
    notify(frame.message || frame.code, "error");
  } else if (frame.type === "agent_delta") {
    if (frame.thread_id === thread.id) thread.runs.get(frame.run_id)?.stream(frame.text);
  } else if (frame.type === "gap") {
    if (frame.thread_id === thread.id) skipGap(frame);
  } else if (frame.seq !== undefined && frame.thread_id === thread.id) {
    takeEntry(frame);
  }
}

// --- The open thread ------------------------------------------------------------------------------------------------

let thread = null; // {id, stored, last, resuming, runs}: `last` is the highest seq shown

function openThread(id = null) {
  thread = { id: id ?? uuid(), stored: id !== null, last: 0, resuming: false, runs: new Map() };
  following = true;
  $("runs").replaceChildren();
  $("empty").hidden = thread.stored;
  $("question").value = thread.stored ? "" : DEFAULT_QUESTION;
  $("question").placeholder = "Ask again";
  markOpenThread();
  if (thread.stored && ready) resume();
}

function resume() {
  thread.resuming = true;
  tell({ type: "resume", thread_id: thread.id, after_seq: thread.last });
}

function skipGap({ from_seq, to_seq, reason }) {
  thread.last = Math.max(thread.last, to_seq);
  $("runs").append(h("p", { class: "soft" }, `Entries ${from_seq} to ${to_seq} are no longer stored (${reason}).`));
}

function takeEntry(entry) {
  if (entry.seq <= thread.last) return;
  if (entry.seq > thread.last + 1) {
    if (!thread.resuming) resume();
    return;
  }
  thread.last = entry.seq;
  thread.resuming = false;
  thread.stored = true;
  attempts = 0; // the connection gets somewhere
  $("empty").hidden = true;
  let run = thread.runs.get(entry.run_id);
  if (!run) {
    run = new Run(entry.run_id);
    thread.runs.set(entry.run_id, run);
    $("runs").append(run.node);
  }
  run.take(entry);
  if (entry.final) loadThreads();
  if (run.askedHere && entry.type === "user_message") jumpTo(run.node, true);
  else if (run.askedHere && entry.final) jumpTo(run.answer, false);
  else followFrame ||= requestAnimationFrame(follow); // once per frame: a replay brings thousands
}

let followFrame = 0;
let following = true; // whether the page keeps to its end as it grows; scrolling up ends that
let lastY = 0;

function follow() {
  followFrame = 0;
  if (following) window.scrollTo(0, document.documentElement.scrollHeight);
}

function jumpTo(node, thenFollow) {
  cancelAnimationFrame(followFrame);
  followFrame = 0;
  following = thenFollow;
  node.scrollIntoView();
}

function noticeScroll() {
  const atEnd = window.innerHeight + window.scrollY > document.documentElement.scrollHeight - 160;
  following = atEnd || (following && window.scrollY >= lastY);
  lastY = window.scrollY;
}

function ask(text) {
  const message = { type: "user_message", text, thread_id: thread.id, client_message_id: uuid() };
  unaccepted.set(message.client_message_id, message);
  asked.add(message.client_message_id);
  $("question").value = "";
  $("ask-button").disabled = true;
  $("ask-hint").textContent = ready ? "Sending…" : "This will be sent when the connection is back.";
  if (ready) tell(message);
}

const asked = new Set(); // the client_message_ids of this page

function settle(clientMessageId) {
  unaccepted.delete(clientMessageId);
  $("ask-button").disabled = false;
  $("ask-hint").textContent = "Enter sends, Shift+Enter makes a new line.";
}

// --- A run and its timeline -----------------------------------------------------------------------------------------

class Run {
  constructor(id) {
    this.id = id;
    this.askedHere = false;
    this.agents = new Map(); // request_id -> {list, dot}
    this.tools = new Map(); // tool_call_id -> {dot, meta, body}
    this.count = 0;
    this.question = h("p", { class: "question" });
    this.state = h("span", { class: "name" }, "Waiting");
    this.facts = h("span", { class: "meta" });
    this.stop = h("button", { type: "button", class: "quiet stop", onclick: () => this.cancel() }, "Stop");
    this.root = h("ol", { class: "timeline" });
    this.steps = h("details", { class: "steps", open: true }, h("summary", {}, this.state, this.facts), this.root);
    this.answer = h("div", { class: "answer card", "aria-live": "polite" });
    this.node = h("article", { class: "run" }, this.question, h("div", { class: "work" }, this.steps, this.stop), this.answer);
  }

  cancel() {
    if (ready) tell({ type: "cancel_run", run_id: this.id });
    else notify("There is no connection right now; try again when it is back.", "error");
  }

  take(entry) {
    this.count += 1;
    if (entry.type === "user_message") {
      this.question.textContent = entry.data.text;
      this.askedHere = asked.has(entry.data.client_message_id);
    } else {
      this.startedAt ??= new Date(entry.timestamp);
      this.show(entry);
    }
    const seconds = this.startedAt ? ` · ${((new Date(entry.timestamp) - this.startedAt) / 1000).toFixed(2)} s` : "";
    this.facts.textContent = plural(this.count, "event") + seconds;
    if (entry.final) this.finish(entry);
  }

  show(entry) {
    const { type, data } = entry;
    const agent = this.agentOf(entry);
    if (type === "agent_started") {
      if (data.attempt > 1) agent.list.append(row(entry, h("span", {}, `Taken up again, attempt ${data.attempt}`)));
      this.state.textContent = "Working";
    } else if (type === "agent_thinking") {
      agent.list.append(row(entry, h("span", { class: "thought" }, data.text)));
    } else if (type === "tool_executing") {
      this.startTool(entry, agent);
    } else if (type === "tool_completed") {
      this.endTool(entry, agent);
    } else {
      const ended = type === "agent_completed";
      mark(agent.dot, ended ? "done" : "failed");
      const words = ended ? "Finished" : type === "run_cancelled" ? `Stopped: ${data.reason}` : `Failed: ${data.message}`;
      agent.list.append(row(entry, h("span", {}, words)));
    }
  }

  agentOf(entry) {
    let agent = this.agents.get(entry.request_id);
    if (!agent) {
      const parent = this.agents.get(entry.parent_request_id)?.list ?? this.root;
      const dot = mark(h("span", {}), "running");
      const list = h("ol");
      const started = entry.type === "agent_started" ? meta(entry) : null;
      parent.append(h("li", { class: "agent" }, h("div", { class: "event" }, dot, h("span", { class: "name" }, entry.agent ?? "run"), started), list));
      agent = { list, dot };
      this.agents.set(entry.request_id, agent);
    }
    return agent;
  }

  startTool(entry, agent) {
    const { tool, tool_call_id: id, arguments: given } = entry.data;
    const dot = mark(h("span", {}), "running");
    const body = h("div", {}, h("span", { class: "name" }, tool), " ", h("span", { class: "outcome soft" }, "running"));
    if (given && Object.keys(given).length) body.append(unfold("Arguments", given));
    const item = row(entry, body, dot);
    item.classList.add("tool");
    agent.list.append(item);
    this.tools.set(id, { dot, body, item, started: entry });
  }

  endTool(entry, agent) {
    if (!this.tools.has(entry.data.tool_call_id)) this.startTool(entry, agent);
    const { dot, body, item, started } = this.tools.get(entry.data.tool_call_id);
    const { status, result, error, duration_ms: took } = entry.data;
    mark(dot, status === "ok" ? "done" : "failed");
    body.querySelector(".outcome").textContent = status === "ok" ? `${Math.round(took)} ms` : `failed: ${error}`;
    if (status === "ok") body.append(unfold("Result", result));
    item.querySelector(".meta").replaceWith(meta(entry, started));
  }

  stream(text) {
    this.streaming ??= this.answer.appendChild(h("p", { class: "streaming" }));
    this.answer.setAttribute("aria-busy", "true");
    this.streaming.append(text);
  }

  finish({ type, data }) {
    const words = { agent_completed: "Finished", agent_failed: "Failed", run_cancelled: "Stopped" };
    this.state.textContent = words[type] ?? type;
    this.stop.remove();
    for (const { dot, body } of [...this.agents.values(), ...this.tools.values()]) {
      if (!dot.classList.contains("running")) continue;
      mark(dot, "failed");
      body?.querySelector(".outcome").replaceChildren("without outcome");
    }
    this.steps.open = this.askedHere;
    if (type === "agent_completed") this.answer.replaceChildren(...answerParts(data.result));
    else if (type === "run_cancelled") this.answer.replaceChildren(h("p", { class: "soft" }, "This run was stopped before it had an answer."));
    else this.answer.replaceChildren(h("p", { class: "problem" }, `The run failed: ${data.message} (${data.code})`));
    this.answer.removeAttribute("aria-busy");
    const figures = type === "agent_completed" && data.result?.figures;
    if (figures && figures.record_count !== 0) this.node.append(showFigures(figures));
  }
}

const DOT_WORDS = { running: "running", done: "done", failed: "not done" };

function mark(dot, state) {
  dot.className = `dot ${state}`;
  dot.setAttribute("role", "img");
  dot.setAttribute("aria-label", DOT_WORDS[state]);
  return dot;
}

function meta(entry, since = entry) {
  const seqs = since.seq < entry.seq ? `#${since.seq}–${entry.seq} ` : `#${entry.seq} `;
  return h("span", { class: "meta" }, seqs, h("time", { datetime: entry.timestamp }, clock.format(new Date(entry.timestamp))));
}

function row(entry, what, dot = h("span", { class: "small dot" })) {
  return h("li", { class: "event", title: `${entry.agent ?? "run"}: ${entry.type}` }, dot, what, meta(entry));
}

function unfold(title, value) {
  return h("details", {}, h("summary", {}, title), h("pre", { tabindex: 0 }, pretty(value)));
}

// --- Answer and figures ---------------------------------------------------------------------------------------------

function answerParts(result) {
  const text = typeof result === "string" ? result : result?.answer;
  return typeof text === "string" ? markdown(text) : [h("pre", { tabindex: 0 }, pretty(result))];
}

const LIST_ITEM = /^\s{0,3}(?:([-*+])|\d{1,9}[.)])\s+(.*)/;
const HEADING = /^(#{1,6})\s+(.*?)\s*#*$/;

function markdown(text) {
  const blocks = [];
  let lines = null; // of the paragraph being read
  let list = null; // the list being read
  let fence = null; // the lines of the code block being read
  for (const line of text.split(/\r?\n/)) {
    const item = LIST_ITEM.exec(line);
    const heading = HEADING.exec(line);
    if (fence) {
      if (line.startsWith("```")) fence = null;
      else fence.append(`${line}\n`);
    } else if (line.startsWith("```")) {
      fence = h("code");
      blocks.push(h("pre", { tabindex: 0 }, fence));
      lines = list = null;
    } else if (!line.trim()) {
      lines = null;
    } else if (heading) {
      blocks.push(inline(h(`h${Math.min(heading[1].length + 1, 6)}`), heading[2]));
      lines = list = null;
    } else if (item) {
      const tag = item[1] ? "ul" : "ol";
      if (list?.localName !== tag) blocks.push((list = h(tag)));
      list.append((lines = inline(h("li"), item[2])));
    } else if (lines) {
      inline(lines, ` ${line.trim()}`);
    } else {
      list = null;
      blocks.push((lines = inline(h("p"), line.trim())));
    }
  }
  return blocks;
}

const MARKS = new RegExp(
  [
    /(?<!`)(?<fence>`{1,9})(?!`)(?<code>.{1,2000}?)(?<!`)\k<fence>(?!`)/,
    /\*\*(?<bold>.{1,2000}?)\*\*/,
    /\*(?<italic>[^\s*](?:.{0,2000}?[^\s*])?)\*/,
    /\[(?<label>[^\]]{1,500})\]\((?<link>https?:\/\/[^\s)]{1,2000})\)/,
    /\\(?<literal>[!-/:-@[-`{-~])/,
  ].map((part) => part.source).join("|"),
  "g",
);

function inline(parent, text) {
  let end = 0;
  for (const found of text.matchAll(MARKS)) {
    const { code, bold, italic, label, link, literal } = found.groups;
    parent.append(text.slice(end, found.index));
    end = found.index + found[0].length;
    if (code) parent.append(h("code", {}, /^ .*[^ ].* $/.test(code) ? code.slice(1, -1) : code));
    else if (bold) parent.append(inline(h("strong"), bold));
    else if (italic) parent.append(inline(h("em"), italic));
    else if (link) parent.append(h("a", { href: link, rel: "noopener noreferrer", target: "_blank" }, label));
    else parent.append(literal);
  }
  parent.append(text.slice(end));
  return parent;
}

const SAVINGS = { repeated_prompts: "Repeated prompts", deferrable: "Calls that can wait", oversized_model: "Small calls on a dear model" };

function showFigures(figures) {
  if (!figures.by_model_usd || !figures.by_operation_usd || !figures.savings_usd) return unfold("Figures", figures);
  const tile = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
  const { total_usd: spent, savings_usd: saved } = figures;
  const savings = Object.entries(SAVINGS).map(([kind, name]) => [name, saved[kind]]);
  const calls = figures.costliest.map((call) =>
    [dollars(call.cost_usd), day.format(new Date(call.timestamp)), call.model, call.operation, call.request_id, call.label]);
  return h("section", { class: "figures card", "aria-label": "Figures" },
    h("dl", { class: "tiles" },
      tile("Spent", dollars(spent)), tile("Could be saved", dollars(saved.total)), tile("Records", figures.record_count.toLocaleString())),
    h("div", { class: "tables" },
      amountTable("Spend by model", "Model", bySize(figures.by_model_usd), spent, spent),
      amountTable("Spend by operation", "Operation", bySize(figures.by_operation_usd), spent, spent),
      amountTable("Savings", "Kind", savings, spent, saved.total)),
    wide("The costliest calls", table(["USD", "When", "Model", "Operation", "Request", "Label"], calls)));
}

const bySize = (amounts) => Object.entries(amounts).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));

function amountTable(caption, head, amounts, whole, total) {
  const rows = amounts.slice(0, MOST_ROWS).map(([name, amount]) => {
    const bar = h("span", { class: "bar-of", "aria-hidden": "true" });
    bar.style.width = `${Math.max(0, Math.min(100, (100 * amount) / whole)) || 0}%`;
    return [h("div", {}, name, bar), dollars(amount)];
  });
  if (amounts.length > MOST_ROWS) rows.push([`and ${amounts.length - MOST_ROWS} more`, ""]);
  return table([head, "USD"], rows, caption, ["Total", dollars(total)]);
}

function table(columns, rows, caption = null, foot = null) {
  const line = (cells, tag = "td") => h("tr", {}, ...cells.map((cell, at) =>
    h(tag, { class: columns[at] === "USD" ? "amount" : null, scope: tag === "th" ? "col" : null }, cell)));
  return h("table", {},
    caption && h("caption", {}, caption),
    h("thead", {}, line(columns, "th")),
    h("tbody", {}, ...rows.map((cells) => line(cells))),
    foot && h("tfoot", {}, line(foot)));
}

const wide = (label, content) => h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": label }, h("h3", {}, label), content);

// --- Usage records --------------------------------------------------------------------------------------------------

async function loadRecordsState() {
  try {
    const { usage_records: some } = await api("GET", "/api/usage-records?limit=1");
    showRecordsState(some.length > 0, some.length ? "Your records are stored." : "No records yet.");
  } catch (error) {
    $("records-state").textContent = error.message;
  }
}

function showRecordsState(any, text) {
  $("records-state").textContent = text;
  $("forget").hidden = !any;
}

async function uploadFile(file) {
  const start = file.name.toLowerCase().endsWith(".csv") ? "" : (await file.slice(0, 256).text()).trimStart();
  await upload(file, start.startsWith("{") ? "application/x-ndjson" : "text/csv", file.name);
}

async function upload(body, type, name) {
  $("upload-problems").replaceChildren();
  $("records-state").textContent = `Uploading ${name}…`;
  try {
    const { accepted } = await api("POST", "/api/usage-records", { body, type });
    showRecordsState(true, `${plural(accepted, "record")} of ${name} stored.`);
  } catch (error) {
    await loadRecordsState();
    $("upload-problems").replaceChildren(...uploadProblem(name, error));
  }
}

function uploadProblem(name, { message, errors }) {
  const parts = [h("p", { class: "problem" }, `Nothing of ${name} was stored. ${errors.length ? "Please mend:" : message}`)];
  const items = errors.slice(0, MOST_ROWS).map(({ line, field, expected, got }) =>
    h("li", {}, h("b", {}, field ? `Line ${line}, ${field}` : `Line ${line}`), `: expected ${expected}, got ${got}`));
  if (errors.length > MOST_ROWS) items.push(h("li", {}, `and ${errors.length - MOST_ROWS} more`));
  if (items.length) parts.push(h("ul", { class: "faults" }, ...items));
  return parts;
}

async function forgetRecords() {
  if (!window.confirm("Delete all of your usage records? Answers in your threads stay.")) return;
  try {
    const { deleted } = await api("DELETE", "/api/usage-records");
    showRecordsState(false, `${plural(deleted, "record")} deleted.`);
  } catch (error) {
    notify(error.message, "error");
  }
}

const FIELDS = "timestamp,request_id,model,operation,prompt_fingerprint,input_tokens,output_tokens,cost_usd,latency_ms,deferrable,label";
const SAMPLE_MODELS = { "atlas-large": [10, 30], "atlas-mini": [0.2, 0.8], "boreal-pro": [3, 12] }; // USD per million tokens: in, out
const SAMPLE_CALLS = [ // operation, models, most input and output tokens, share of repeated prompts and of deferrable calls, label
  ["chat", ["atlas-large", "atlas-mini", "boreal-pro"], 40_000, 3_000, 0.3, 0, "support desk"],
  ["classify", ["atlas-large", "atlas-mini"], 1_000, 100, 0.2, 0, "ticket routing"],
  ["summarize", ["boreal-pro", "atlas-mini"], 120_000, 2_000, 0.2, 0.7, "nightly digest"],
  ["extract", ["atlas-large", "boreal-pro"], 60_000, 1_500, 0.1, 0.5, "invoices"],
];

function sampleRecords(count) {
  const pick = (items) => items[Math.floor(Math.random() * items.length)];
  const between = (least, most) => least + Math.floor(Math.random() * (most - least));
  const lines = [FIELDS];
  for (let number = 1; number <= count; number += 1) {
    const [operation, models, mostInput, mostOutput, repeated, deferrable, label] = pick(SAMPLE_CALLS);
    const model = pick(models);
    const [input, output] = [between(mostInput / 10, mostInput), between(mostOutput / 10, mostOutput)];
    const microdollars = Math.round(input * SAMPLE_MODELS[model][0] + output * SAMPLE_MODELS[model][1]);
    const prompt = Math.random() < repeated ? `${operation}-often` : `${operation}-${number}`;
    const time = new Date(Date.now() - between(0, 14 * 86_400_000)).toISOString();
    lines.push([time, `sample-${number}`, model, operation, prompt, input, output, (microdollars / 1e6).toFixed(6),
      between(200, 400 + 8 * output), Math.random() < deferrable, label].join(","));
  }
  return new Blob([`${lines.join("\n")}\n`]);
}

// --- Earlier threads ------------------------------------------------------------------------------------------------

let cursor = null;

async function loadThreads(after = null) {
  const mine = session;
  try {
    const query = after ? `?limit=20&cursor=${encodeURIComponent(after)}` : "?limit=20";
    const { threads, next_cursor: next } = await api("GET", `/api/threads${query}`);
    if (session !== mine) return;
    cursor = next;
    const items = threads.map(threadItem);
    if (after) $("threads").append(...items);
    else $("threads").replaceChildren(...items);
    $("threads-empty").hidden = $("threads").childElementCount > 0;
    $("more-threads").hidden = !next;
    markOpenThread();
  } catch (error) {
    if (session === mine) notify(error.message, "error");
  }
}

function threadItem({ thread_id: id, title, updated_at: updated }) {
  return h("li", {},
    h("button", { type: "button", "data-thread": id, onclick: () => openThread(id) },
      h("span", { class: "title" }, title || "Untitled"),
      h("time", { class: "hint", datetime: updated }, day.format(new Date(updated)))));
}

function markOpenThread() {
  for (const button of $("threads").querySelectorAll("button")) {
    if (button.dataset.thread === thread.id) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}

// --- Signing in and out ---------------------------------------------------------------------------------------------

let signingUp = false;

function showGate(up = false) {
  signingUp = up;
  $("gate-title").textContent = $("gate-submit").textContent = up ? "Sign up" : "Sign in";
  $("gate-question").textContent = up ? "An account already?" : "No account yet?";
  $("gate-switch").textContent = up ? "Sign in" : "Sign up";
  $("password").autocomplete = up ? "new-password" : "current-password";
  $("password-hint").hidden = !up;
  $("gate-problem").hidden = true;
  $("gate").hidden = false;
  $("desk").hidden = $("account").hidden = true;
  $("email").focus();
}

async function signIn(email, password) {
  if (signingUp) await call("POST", "/auth/register", { json: { email, password } });
  enter(await call("POST", "/auth/session", { body: new URLSearchParams({ username: email, password }) }));
}

function enter({ user_id: user, email, csrf_token: csrf }) {
  session = { user, csrf, checking: null };
  attempts = 0;
  $("gate-form").reset();
  $("notices").replaceChildren();
  $("email-shown").textContent = email;
  $("gate").hidden = true;
  $("desk").hidden = $("account").hidden = false;
  openThread();
  connect();
  loadThreads();
  loadRecordsState();
  $("question").focus();
}

function leave(message = null) {
  if (session?.leaving) message = null; // the server ends the socket too, which tells nothing new then
  session = null;
  disconnect();
  unaccepted.clear();
  asked.clear();
  settle(null);
  openThread();
  for (const id of ["threads", "upload-problems", "email-shown"]) $(id).replaceChildren();
  showGate();
  if (message) notify(message);
  else $("notices").replaceChildren();
}

function gateProblem(error) {
  const words = {
    email_taken: "There is an account with this e-mail already. Sign in instead.",
    invalid_credentials: "The e-mail or the password is wrong.",
    too_many_registrations: "Too many accounts were made from here. Please wait a while.",
    too_many_attempts: "Too many sign-ins have failed. Please wait a while.",
    registration_closed: "Signing up is closed here. Ask whoever runs this server for an account.",
  };
  const details = error.errors.map(({ field, expected }) => (field && expected ? ` ${field}: ${expected}.` : "")).join("");
  $("gate-problem").textContent = words[error.code] ?? `${error.message}${details}`;
  $("gate-problem").hidden = false;
}

// --- Wiring ---------------------------------------------------------------------------------------------------------

$("gate-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("gate-problem").hidden = true;
  $("gate-submit").disabled = true;
  try {
    await signIn($("email").value.trim(), $("password").value);
  } catch (error) {
    gateProblem(error);
  } finally {
    $("gate-submit").disabled = false;
  }
});
$("gate-switch").addEventListener("click", () => showGate(!signingUp));
$("sign-out").addEventListener("click", async () => {
  const mine = session;
  mine.leaving = true;
  try {
    await api("POST", "/auth/logout");
  } catch (error) {
    // The cookie still counts, so whoever comes next would be let in: nothing is hidden as if it did not.
    if (session === mine && error.status !== 401) {
      mine.leaving = false;
      return notify("You are still signed in: the server cannot be reached. Try again.", "error");
    }
  }
  if (session === mine) leave();
});

$("file").addEventListener("change", async () => {
  const [file] = $("file").files;
  if (file) await uploadFile(file);
  $("file").value = ""; // the same file, mended, may be chosen again
});
$("drop").addEventListener("dragover", () => $("drop").classList.add("over"));
$("drop").addEventListener("dragleave", () => $("drop").classList.remove("over"));
$("drop").addEventListener("drop", (event) => event.dataTransfer.files[0] && uploadFile(event.dataTransfer.files[0]));
for (const type of ["dragover", "drop"]) {
  window.addEventListener(type, (event) => {
    event.preventDefault(); // else a file dropped beside the field would replace the page
    if (type === "drop") $("drop").classList.remove("over");
  });
}
$("sample").addEventListener("click", () => upload(sampleRecords(60), "text/csv", "the sample"));
$("forget").addEventListener("click", forgetRecords);

$("new-thread").addEventListener("click", () => {
  openThread();
  $("question").focus();
});
$("more-threads").addEventListener("click", () => loadThreads(cursor));

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("question").value.replaceAll("\0", "").trim();
  if (text && !$("ask-button").disabled) ask(text);
});
$("question").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("ask").requestSubmit();
});

window.addEventListener("scroll", noticeScroll, { passive: true });
window.addEventListener("online", () => session && !ready && connect());
setInterval(watchOver, PING_EVERY_MS);
call("GET", "/auth/session").then(enter, () => showGate());
