// Says dates, times and numbers as people do in Latin America.

const WHERE = "es-419";
const DAY = 86400000;
const relative = new Intl.RelativeTimeFormat(WHERE, { numeric: "auto" });
const clock = new Intl.DateTimeFormat(WHERE, { timeStyle: "short" });
const numbers = new Intl.NumberFormat(WHERE);

export const number = (count) => numbers.format(count);
export const percent = (share) => `${Math.floor(100 * share)} %`;

/** Say a day, with its year where it is not this one. */
function short(when, options) {
  const year = when.getFullYear() === new Date().getFullYear() ? undefined : "numeric";
  const parts = { day: "numeric", month: "short", year, ...options };
  return new Intl.DateTimeFormat(WHERE, parts).format(when);
}

/** Say how long ago something was. */
export function ago(iso) {
  const minutes = Math.floor((Date.now() - Date.parse(iso)) / 60000);
  if (minutes < 1) return "hace un momento";
  if (minutes < 60) return relative.format(-minutes, "minute");
  if (minutes < 1440) return relative.format(-Math.floor(minutes / 60), "hour");
  const days = Math.floor(minutes / 1440);
  if (days < 31) return relative.format(-days, "day");
  return `el ${short(new Date(iso))}`;
}

/** Say how long something will take, roughly. */
export function within(iso) {
  const minutes = Math.ceil((Date.parse(iso) - Date.now()) / 60000);
  if (minutes <= 1) return "en menos de un minuto";
  if (minutes < 60) return `en unos ${minutes} minutos`;
  const hours = Math.ceil(minutes / 60);
  return hours === 1 ? "en una hora" : `en unas ${hours} horas`;
}

/** Say at what time; with the date when it is not today. */
export function at(iso) {
  const when = new Date(iso);
  const time = clock.format(when);
  const said = `${/^1\D/.test(time) ? "a la" : "a las"} ${time}`;
  return when.toDateString() === new Date().toDateString() ? said : `el ${short(when)} ${said}`;
}

/** Say from when to when. */
export function range(from, to) {
  const [first, last] = [short(new Date(from)), short(new Date(to))];
  return first === last ? `el ${last}` : `del ${first} al ${last}`;
}

/** Count the days since 1970 for `2026-11-22`, or for the local day of an instant. */
export function day(iso) {
  if (iso.length === 10) return Date.parse(iso) / DAY;
  const local = new Date(iso);
  return Date.UTC(local.getFullYear(), local.getMonth(), local.getDate()) / DAY;
}

/** Name a day that `day` has counted. */
export const named = (count) => short(new Date(count * DAY), { timeZone: "UTC" });
