// Everything that a member reads, in Spanish; {} is the provider's name.

import { at, number, within } from "./times.js";

/** What came of a trip to the provider, by the `reason` in the address. */
export const OUTCOMES = {
  success: "Listo, conectaste {}; ya estamos trayendo tus datos.",
  denied: "No diste permiso en {}, así que no se conectó; puedes intentarlo cuando quieras.",
  expired_link: "Ese enlace ya se usó o venció; vuelve a presionar Conectar.",
  other_browser:
    "No reconocimos este navegador; revisa que acepte cookies y conecta desde aquí.",
  no_offline_access: "{} solo nos dio acceso por una hora; conecta otra vez y acepta todo.",
  account_in_use:
    "Esa cuenta de {} ya está conectada a otra persona en GoToGym; desconéctala allá primero.",
  different_account:
    "Tus datos guardados son de otra cuenta de {}; conecta esa, o bórralos antes.",
  erasing: "Estamos borrando tus datos; conecta otra vez en un minuto.",
  provider_unavailable: "{} no respondió; vuelve a intentarlo en unos minutos.",
  provider_error:
    "{} rechazó la conexión, y no fue por ti; inténtalo más tarde o escríbenos.",
  not_configured: "Por ahora no podemos conectar {}; inténtalo más tarde.",
  unavailable: "Tuvimos un problema de nuestro lado; vuelve a intentarlo en un momento.",
};

/** Why a call to the API failed, by its `code`. */
export const TROUBLES = {
  offline: "No tienes conexión a internet; seguimos en cuanto vuelva.",
  unreachable: "No pudimos comunicarnos con GoToGym; vuelve a intentarlo en un momento.",
  server_error: "Algo falló de nuestro lado; vuelve a intentarlo en unos minutos.",
  unauthorized: "Tu sesión terminó; inicia sesión otra vez para continuar.",
  unknown_provider: "{} ya no está disponible; recarga la página.",
  not_connected: "{} ya no está conectado; conéctalo otra vez.",
  not_configured: OUTCOMES.not_configured,
  misconfigured: "Estamos haciendo ajustes; inténtalo más tarde.",
  unavailable: OUTCOMES.unavailable,
};

/** Why a provider cannot be offered. */
export const DISABLED = {
  not_configured: "Todavía no ofrecemos {}. Vuelve pronto.",
  misconfigured: "Estamos arreglando la conexión con {}. Inténtalo más tarde.",
  unreachable: "No pudimos preguntar si {} está disponible.",
};

/** Why a connection does not work, or works in part. */
export const CONNECTION = {
  reauth_required: "{} ya no nos da acceso. Vuelve a conectar para seguir al día.",
  account_in_use: "Esta cuenta de {} es de otra persona en GoToGym. Conecta la tuya.",
  different_account: "Llegan datos de otra cuenta de {}. Conecta la cuenta de siempre.",
  scope_missing: "Faltan permisos para algunos datos. Vuelve a conectar y acéptalos todos.",
};

/** Why a resource waits or failed; `until` is said after those that wait. */
export const RESOURCE = {
  ...CONNECTION,
  rate_limited: "{} nos pidió hacer una pausa.",
  out_of_budget: "Llegamos al límite de consultas de {}.",
  provider_unavailable: "{} no responde.",
  token_rejected: "{} no aceptó nuestro acceso.",
  renewing: "Estamos renovando el acceso a {}.",
  key_missing: "Tuvimos un problema de nuestro lado.",
  cursor_refused: "{} interrumpió la lectura.",
  not_there: "{} no tiene estos datos.",
  request_rejected: "No pudimos leer estos datos; lo estamos revisando.",
  poisoned: "No pudimos leer estos datos; lo estamos revisando.",
  disconnected: "Desconectaste {}.",
  provider_error: "{} respondió con un error.",
  scope_missing: "No diste permiso para estos datos.",
  account_deactivated: "Tu membresía de {} está en pausa. Revísala en su app.",
};

/** What the resources are called. */
export const RESOURCES = {
  cycle: "Esfuerzo diario",
  recovery: "Recuperación",
  sleep: "Sueño",
  workout: "Entrenamientos",
  profile: "Perfil",
  body_measurement: "Medidas corporales",
};

/** Look up a word from outside, perhaps an unknown one. */
export function say(texts, word, name, otherwise = word) {
  const text = texts[Object.hasOwn(texts, word ?? "") ? word : otherwise];
  return text.replaceAll("{}", () => name);
}

export const until = (iso) => `Seguimos ${iso ? at(iso) : "en un momento"}`;

export const estimate = (iso) => `Termina ${within(iso)}`;

export const records = (count) => (count === 1 ? "1 registro" : `${number(count)} registros`);

export const HINTS = {
  running: "Lo más reciente llega primero. Puedes cerrar esta página: seguimos sin ti.",
  done: "{} está al día.",
  again: "Lo intentaremos otra vez esta noche.",
};

/** What disconnecting will do; {n} is how much there is. */
export const CONSEQUENCES = {
  keep:
    "Dejaremos de recibir datos de {}. Lo que ya guardamos ({n}) se queda en GoToGym, y puedes " +
    "volver a conectar cuando quieras.",
  erase:
    "Dejaremos de recibir datos de {} y borraremos para siempre lo que guardamos ({n}). No se " +
    "puede deshacer. En tu cuenta de {} no cambia nada.",
};

/** What disconnecting did. */
export const ENDED = {
  keep: "Desconectaste {}; tus datos siguen guardados.",
  erase: "Borramos todos tus datos de {}; este es tu comprobante:",
};
