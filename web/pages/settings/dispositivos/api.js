// The calls to the API; whatever goes wrong comes as a Trouble with one code.

import { API, token } from "./config.js";

const PATIENCE = 20000;

/** A call that failed: `code` is the problem's own, or `offline`, `unreachable`, `server_error`. */
export class Trouble extends Error {
  constructor(code) {
    super(code);
    this.code = code;
  }
}

/** List the providers, with the member's connections. */
export const providers = () => call("/providers/");

export const status = (id) => call(`/providers/${id}/status/`);

export const sync = (id) => call(`/providers/${id}/sync/`, { method: "POST" });

/** With the cookie that binds the attempt to this browser, hence `credentials`. */
export const ticket = (id) =>
  call(`/oauth/${id}/ticket/`, { method: "POST", credentials: "include" });

/** End a connection; the answer has a receipt where records were erased. */
export const disconnect = (id, erase) =>
  call(`/providers/${id}/connection/${erase ? "?erase=true" : ""}`, { method: "DELETE" });

async function call(path, options = {}) {
  const jwt = await token();
  const headers = jwt ? { Authorization: `Bearer ${jwt}` } : {};
  let answer;
  let body;
  try {
    const signal = AbortSignal.timeout(PATIENCE);
    answer = await fetch(API + path, { cache: "no-store", ...options, headers, signal });
    body = await answer.json();
  } catch {
    if (!navigator.onLine) throw new Trouble("offline");
    if (!answer || answer.ok) throw new Trouble("unreachable");
  }
  if (answer.ok) return body;
  throw new Trouble(body?.code ?? (answer.status === 401 ? "unauthorized" : "server_error"));
}
