// All that differs between sites: where the API is, who is signed in, and which cards there are.

/** Where the API is. The Content-Security-Policy's connect-src names the same origin. */
export const API = "https://api.gotogym.store";

/** Where a member signs in. */
export const SIGN_IN = "/login";

/** Return the JWT of the member who is signed in, or null. Asked anew for every call. */
export async function token() {
  return (await window.gotogym?.token()) ?? null;
}

/** Every card, in order. `served` ones are this API's; the others say themselves what they show. */
export const CARDS = [
  { id: "whoop", name: "WHOOP", icon: "dispositivos/icons/band.svg", served: true },
  { id: "garmin", name: "Garmin", icon: "dispositivos/icons/watch.svg", state: "Próximamente" },
  { id: "oura", name: "Oura", icon: "dispositivos/icons/ring.svg", state: "Próximamente" },
];

/** Milliseconds between two looks at a run: at first, at most, and how they grow. */
export const POLL = { first: 1000, last: 15000, growth: 1.4 };
