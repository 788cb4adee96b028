// The cards: one renderer for all, and what a provider of this API puts on its own.

import { SIGN_IN } from "./config.js";
import { h } from "./dom.js";
import { CONNECTION, DISABLED, RESOURCE, say } from "./texts.js";
import { ago, at, percent } from "./times.js";

const WAIT = "Un momento, por favor.";
const LATER = "No disponible por ahora";

/** Render one card; `extra` opens below it. */
export function device({ id, name, icon, state, tone, button }, extra) {
  const why = button?.reason && h("span", { id: `why-${id}`, hidden: true }, button.reason);
  return h(
    "li",
    { id: `device-${id}`, class: "device" },
    h(
      "article",
      { class: "card", "aria-labelledby": `name-${id}` },
      h("img", { class: "icon", src: icon, alt: "" }),
      h(
        "div",
        { class: "who" },
        h("h2", { id: `name-${id}` }, name),
        h("p", { class: `state ${tone ?? ""}` }, state),
      ),
      button && press(id, name, button),
      why,
    ),
    extra,
  );
}

function press(id, name, { label, does, href, reason }) {
  const said = { id: `button-${id}`, class: "button", "aria-label": `${label} ${name}` };
  if (href) return h("a", { ...said, href }, label);
  const off = reason
    ? { "aria-disabled": "true", title: reason, "aria-describedby": `why-${id}` }
    : { "data-do": does, "data-provider": id };
  return h("button", { ...said, type: "button", ...off }, label);
}

/** Say what is on the card of a provider of this API: its state and its one button. */
export function faced(card, { provider, status, busy, signedIn, loading }) {
  const { name } = card;
  const off = (state, reason) => ({ ...card, state, button: { label: "Conectar", reason } });
  if (loading) return off("Cargando…", WAIT);
  const connection = status?.connection ?? provider?.connection;
  const look = connection && CONNECTED[connection.status]?.(name, connection, status);
  const consents = !look?.button || look.button.does === "connect";
  if (signedIn && !provider) return off(LATER, say(DISABLED, "unreachable", name));
  if (provider?.enabled === false && consents) {
    return off(LATER, say(DISABLED, provider.reason, name, "misconfigured"));
  }
  if (!signedIn) {
    const button = { label: "Iniciar sesión", href: SIGN_IN };
    return { ...card, state: "Inicia sesión para conectarlo", button };
  }
  const wait = busy && { button: { label: look.button.label, reason: WAIT } };
  return { ...card, ...look, ...wait };
}

const connect = { label: "Conectar", does: "connect" };
const again = { label: "Reconectar", does: "connect" };

const CONNECTED = {
  none: () => ({ state: "Sin conectar", button: connect }),
  disconnected: () => ({ state: "Desconectado · tus datos siguen guardados", button: connect }),
  connecting: (name) => ({
    state: "Conectando…",
    button: { label: "Conectar", reason: `Estamos terminando de conectar ${name}.` },
  }),
  erasing: () => ({
    state: "Borrando tus datos…",
    button: { label: "Conectar", reason: "Podrás conectar cuando terminemos." },
  }),
  parked: (name, { reason }) => ({
    state: say(CONNECTION, reason, name, "reauth_required"),
    tone: "warn",
    button: again,
  }),
  connected: (name, connection, status) => {
    if (connection.reason) {
      const state = say(CONNECTION, connection.reason, name, "scope_missing");
      return { state, tone: "warn", button: again };
    }
    return { button: { label: "Sincronizar", does: "sync" }, ...running(name, status) };
  },
};

function running(name, status) {
  const resources = status?.resources ?? [];
  const busy = { label: "Sincronizar", reason: "Ya estamos trayendo tus datos." };
  if (status?.run?.state === "running") {
    return { state: `Trayendo tus datos · ${percent(done(resources))}`, button: busy };
  }
  if (status?.run?.state === "waiting") {
    const waiting = resources.filter((one) => one.state === "waiting" && one.retry_at);
    const [next] = waiting.map((one) => one.retry_at).sort();
    return { state: `En pausa · seguimos ${next ? at(next) : "en un momento"}`, button: busy };
  }
  const paused = resources.find((one) => one.state === "deactivated");
  if (paused) return { state: say(RESOURCE, "account_deactivated", name), tone: "warn" };
  if (status?.run?.state === "failed") {
    return { state: "Conectado · la última sincronización no terminó", tone: "warn" };
  }
  const last = resources.map((one) => one.last_sync_at).filter(Boolean).sort().pop();
  return { state: last ? `Conectado · al día ${ago(last)}` : "Conectado", tone: "good" };
}

function done(resources) {
  const parts = resources.filter((one) => one.goal).map((one) => one.progress);
  return parts.length ? parts.reduce((sum, part) => sum + part, 0) / parts.length : 0;
}
