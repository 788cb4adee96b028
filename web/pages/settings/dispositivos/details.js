// What opens below a card: progress, what we hold, and what else a member can do.

import { calendar } from "./calendar.js";
import { h } from "./dom.js";
import { estimate, HINTS, records, RESOURCE, RESOURCES, say, until } from "./texts.js";
import { ago, percent, range } from "./times.js";

const ACTIVE = ["running", "waiting"];

/** Render the details of a connection, or nothing where there is nothing to tell. */
export function details({ id, name }, status, open) {
  if (!status) return null;
  const { connection, resources, run } = status;
  const held = resources.some((one) => one.records);
  if (!held && !["connected", "parked"].includes(connection.status)) return null;
  const live = connection.status === "connected";
  const active = live && ACTIVE.includes(run?.state);
  const dated = resources.filter((one) => one.goal || one.days.length);
  const plain = resources.filter((one) => !dated.includes(one));
  const shared = common(dated, name);
  return h(
    "details",
    { class: "more", id: `more-${id}`, open },
    h("summary", {}, `Tus datos de ${name}`),
    active && h("p", { class: "hint" }, HINTS.running),
    shared && h("p", { class: "problem hint" }, shared),
    h("ul", { class: "resources" }, dated.map((one) => resource(one, name, live, shared))),
    h("ul", { class: "plain" }, plain.map((one) => h("li", {}, line(one, name, live)))),
    h("div", { class: "actions" }, actions(id, connection, active, held)),
  );
}

function actions(id, { status, reason }, active, held) {
  const act = (does, label, look) => {
    const known = { id: `${does}-${id}`, "data-do": does, "data-provider": id };
    return h("button", { type: "button", class: `button ${look}`, ...known }, label);
  };
  if (status === "disconnected") return held && act("erase", "Borrar mis datos", "quiet");
  if (!["connected", "parked"].includes(status)) return null;
  // The card's one button is for connecting again.
  const partly = status === "connected" && reason && !active;
  return [partly && act("sync", "Sincronizar", "quiet"), act("disconnect", "Desconectar", "quiet")];
}

/** Say once what keeps all of them from going on. */
function common(resources, name) {
  const said = new Set(resources.map((one) => one.reason && problem(one, name)));
  return resources.length > 1 && said.size === 1 ? [...said][0] : null;
}

function resource(one, name, live, shared) {
  const title = RESOURCES[one.resource] ?? one.resource;
  const active = ACTIVE.includes(one.state);
  return h(
    "li",
    { class: "resource", id: `resource-${one.resource}` },
    h("h3", {}, title),
    h("p", { class: "when" }, active ? percent(one.progress) : when(one, live)),
    active && h("progress", { max: 1, value: one.progress, "aria-label": `Avance de ${title}` }),
    one.ends_at && one.state === "running" && h("p", {}, estimate(one.ends_at)),
    one.reason && !shared && h("p", { class: "problem" }, problem(one, name)),
    (active || one.records > 0) && calendar(one, title),
    h("p", {}, count(one)),
  );
}

function when(one, live) {
  if (!one.last_sync_at || !one.records) return null;
  const current = live && one.state === "finished";
  return `${current ? "Al día" : "Última vez"} ${ago(one.last_sync_at)}`;
}

function problem(one, name) {
  const said = say(RESOURCE, one.reason, name, "provider_error");
  if (one.state === "waiting") return `${said} ${until(one.retry_at)}`;
  return one.state === "failed" && !one.action ? `${said} ${HINTS.again}` : said;
}

function count(one) {
  if (one.records) return `${records(one.records)}, ${range(one.oldest, one.newest)}`;
  return one.state === "finished" ? "Sin registros en este periodo" : "Sin registros todavía";
}

function line(one, name, live) {
  const said = one.reason ? problem(one, name) : (when(one, live) ?? "Sin datos todavía");
  return `${RESOURCES[one.resource] ?? one.resource} · ${said}`;
}
