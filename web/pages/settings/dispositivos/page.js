// The page: asks the API, shows what it says, and looks again while something is going on.

import { disconnect, providers, status, sync, ticket, Trouble } from "./api.js";
import { device, faced } from "./cards.js";
import { CARDS, POLL, SIGN_IN, token } from "./config.js";
import { details } from "./details.js";
import { ask } from "./disconnect.js";
import { h, show } from "./dom.js";
import { ENDED, HINTS, OUTCOMES, say, TROUBLES } from "./texts.js";

const MINUTE = 60000;

const state = {
  providers: null, // the API's, by id
  statuses: {}, // by id
  busy: {}, // by id, while a member's wish is under way
  opened: null, // whose details a success has opened
  signedIn: true,
  notice: null, // { tone, text }
  trouble: null, // the code of the last look, if it failed
};

let delay = POLL.first;
let timer = null;
let looking = null;

// What is shown

function render() {
  show(document.getElementById("notice"), notice());
  show(document.getElementById("devices"), CARDS.map(card));
}

function card(one) {
  if (!one.served) {
    return device({ button: { label: "Conectar", reason: `${one.name}: ${one.state}` }, ...one });
  }
  const { id } = one;
  const { providers, statuses, busy, signedIn, trouble } = state;
  const known = { provider: providers?.[id], status: statuses[id], busy: busy[id], signedIn };
  return device(
    faced(one, { ...known, loading: !providers && !trouble }),
    signedIn && details(one, statuses[id], state.opened === id),
  );
}

function notice() {
  const { trouble } = state;
  const shown = trouble
    ? { tone: "bad", text: say(TROUBLES, trouble, "", "server_error") }
    : state.notice;
  return shown && h("div", { class: `notice ${shown.tone}` }, h("p", {}, shown.text), way(trouble));
}

function way(trouble) {
  if (trouble === "unauthorized") {
    return h("a", { class: "button quiet", href: SIGN_IN }, "Iniciar sesión");
  }
  const press = { type: "button", "data-do": trouble ? "retry" : "dismiss" };
  return trouble
    ? h("button", { ...press, class: "button quiet" }, "Reintentar")
    : h("button", { ...press, class: "close", "aria-label": "Cerrar aviso" }, "×");
}

function tell(tone, text) {
  state.notice = { tone, text };
  render();
}

const nameOf = (id) => CARDS.find((one) => one.id === id)?.name ?? "tu dispositivo";

// Looking, gently

/** Ask for everything, or for what is going on; one look at a time. */
function look(everything = true) {
  clearTimeout(timer);
  looking ??= refresh(everything).finally(() => {
    looking = null;
    plan();
  });
  return looking;
}

async function refresh(everything) {
  const before = JSON.stringify(state.statuses);
  const going = ids().filter(active);
  try {
    state.signedIn = (await token()) !== null;
    if (everything) {
      const list = await providers();
      state.providers = Object.fromEntries(list.map((one) => [one.id, one]));
      state.trouble = null;
      render(); // the cards first; what is below them takes another answer
    }
    await Promise.all((everything ? ids() : going).map(lookAt));
    state.trouble = null;
    going.filter((id) => !active(id)).forEach(announce);
  } catch (error) {
    blame(error);
  }
  const changed = !state.trouble && JSON.stringify(state.statuses) !== before;
  delay = changed ? POLL.first : Math.min(delay * POLL.growth, POLL.last);
  render();
}

const ids = () => (state.signedIn ? Object.keys(state.providers ?? {}) : []);

const standing = (id) => (state.statuses[id] ?? state.providers[id]).connection?.status;

async function lookAt(id) {
  const stands = state.providers[id].connection?.status ?? "none";
  if (stands === "none") delete state.statuses[id];
  else state.statuses[id] = await status(id);
}

function active(id) {
  if (standing(id) !== "connected") return ["connecting", "erasing"].includes(standing(id));
  return ["running", "waiting"].includes(state.statuses[id]?.run?.state);
}

/** Say that a run is over to those who do not see the bars. */
function announce(id) {
  if (standing(id) === "connected" && state.statuses[id].run.state === "finished") {
    tell("good", say(HINTS, "done", nameOf(id)));
  }
}

function plan() {
  clearTimeout(timer);
  if (document.hidden || state.trouble === "unauthorized") return;
  if (state.trouble || ids().some(active)) timer = setTimeout(look, delay, Boolean(state.trouble));
  // Only what the page says about times grows old.
  else timer = setTimeout(() => (render(), plan()), MINUTE);
}

async function resume() {
  delay = POLL.first;
  await looking; // it may have asked before what has just happened
  await look();
}

function blame(error) {
  if (!(error instanceof Trouble)) throw error;
  state.trouble = error.code;
  if (error.code === "unauthorized") state.signedIn = false;
}

// What a member can do

const DOES = {
  async connect(id) {
    const { authorize_url: there } = await ticket(id);
    location.assign(there);
    await new Promise(() => {}); // until the browser has left
  },
  async sync(id) {
    await sync(id);
    state.notice = null;
  },
  disconnect: (id) => end(id, null),
  erase: (id) => end(id, "erase"),
};

async function end(id, only) {
  const held = (state.statuses[id]?.resources ?? []).reduce((sum, one) => sum + one.records, 0);
  const choice = await ask(nameOf(id), held, only);
  if (!choice) return;
  state.busy[id] = true;
  render();
  const { receipt } = await disconnect(id, choice === "erase");
  tell("good", `${say(ENDED, receipt ? "erase" : "keep", nameOf(id))} ${receipt?.id ?? ""}`);
}

async function perform(what, id) {
  if (state.busy[id]) return;
  state.busy[id] = what === "connect" || what === "sync"; // the others ask first
  render();
  try {
    await DOES[what](id);
  } catch (error) {
    blame(error);
    if (state.signedIn) {
      state.trouble = null;
      tell("bad", say(TROUBLES, error.code, nameOf(id), "server_error"));
    }
  }
  if (state.signedIn) await resume();
  delete state.busy[id];
  render();
}

document.addEventListener("click", ({ target }) => {
  const { do: what, provider } = target.closest("[data-do]")?.dataset ?? {};
  if (what === "retry") resume();
  else if (what === "dismiss") state.notice = null;
  else if (what) perform(what, provider);
  if (what) render();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else resume();
});
addEventListener("online", resume);
addEventListener("offline", () => blame(new Trouble("offline")) ?? render());
addEventListener("pageshow", ({ persisted }) => {
  if (!persisted) return;
  state.busy = {}; // back from the consent page with the browser's own button
  resume();
});

/** Tell how a trip to the provider ended, and forget it. */
function outcome() {
  const here = new URL(location.href);
  const [how, id, reason] = ["oauth", "provider", "reason"].map((name) => {
    const value = here.searchParams.get(name);
    here.searchParams.delete(name);
    return value;
  });
  if (!how) return;
  history.replaceState(null, "", here);
  const well = how === "success";
  if (well) state.opened = id;
  const tone = reason === "denied" ? "" : "bad";
  tell(well ? "good" : tone, say(OUTCOMES, well ? how : reason, nameOf(id), "provider_error"));
}

outcome();
render();
look();
