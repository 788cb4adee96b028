// A small picture of the days with data: a square for each day, or for each month of many years.

import { h } from "./dom.js";
import { day, named } from "./times.js";

const ROW = 62;
const YEAR = 371;
const CELL = 10;
const STEP = 12;
const MONTH = 26;

/** Draw the days of `resource` that have data, over all that is covered. */
export function calendar(resource, title) {
  const { oldest, newest } = resource;
  const span = resource.held ?? resource.goal ?? { start: oldest, end: newest };
  const stretches = resource.days.map(([first, last]) => [day(first), day(last)]);
  let from = Math.min(day(span.start), stretches[0]?.[0] ?? Infinity);
  const to = Math.max(day(span.end), stretches.at(-1)?.[1] ?? 0);
  // Of a goal that means "everything", what comes before the first day is no gap.
  if (to - from > YEAR) from = stretches[0]?.[0] ?? to - 30;
  const days = numbers(from, to);
  const has = new Set(stretches.flatMap(([first, last]) => numbers(first, last)));
  const full = days.filter((one) => has.has(one)).length;
  const ends = [named(from), named(to)];
  const label = `${title}: ${full} de ${days.length} días con datos, del ${ends[0]} al ${ends[1]}`;
  return h(
    "div",
    { class: "calendar" },
    draw(days.length > YEAR ? byMonth(days, has) : byDay(days, has), label),
    h("p", { class: "ends", "aria-hidden": "true" }, ends.map((one) => h("span", {}, one))),
  );
}

/** One row; where that is too long, a column for each week from Monday down. */
function byDay(days, has) {
  const week = (one) => Math.floor((one + 3) / 7); // 1970 began on a Thursday
  const weeks = days.length > ROW;
  return days.map((one, index) => ({
    x: (weeks ? week(one) - week(days[0]) : index) * STEP,
    y: weeks ? ((one + 3) % 7) * STEP : 0,
    high: weeks ? CELL : 2 * CELL,
    share: Number(has.has(one)),
  }));
}

/** A row for each year and a square for each month, as full as the month is. */
function byMonth(days, has) {
  const months = new Map();
  for (const one of days) {
    const at = new Date(one * 86400000);
    const key = at.getUTCFullYear() * 12 + at.getUTCMonth();
    const [all, full] = months.get(key) ?? [0, 0];
    months.set(key, [all + 1, full + has.has(one)]);
  }
  const [first] = months.keys();
  return [...months].map(([key, [all, full]]) => ({
    x: (key % 12) * MONTH,
    y: (Math.floor(key / 12) - Math.floor(first / 12)) * STEP,
    wide: MONTH - 2,
    share: full / all,
  }));
}

/** Draw each cell empty, and its share over it. */
function draw(cells, label) {
  const width = Math.max(...cells.map(({ x, wide = CELL }) => x + wide));
  const height = Math.max(...cells.map(({ y, high = CELL }) => y + high));
  const path = (look, part) => {
    const squares = cells.map(({ x, y, wide = CELL, high = CELL, share }) => {
      const full = Math.ceil(high * part(share));
      return full ? `M${x} ${y + high - full}h${wide}v${full}h-${wide}z` : "";
    });
    return h("path", { class: look, d: squares.join("") });
  };
  return h(
    "svg",
    { role: "img", "aria-label": label, viewBox: `0 0 ${width} ${height}`, width, height },
    path("none", () => 1),
    path("some", (share) => share),
  );
}

const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);
