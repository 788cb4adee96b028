// Lets the clock of the process that requires it run faster: FAULTS_SPEED is "factor@since", in seconds since 1970.
"use strict";

const http = require("node:http");

const [factor, since] = process.env.FAULTS_SPEED.split("@").map(Number);
const Real = Date;

globalThis.Date = class Date extends Real {
  constructor(...given) {
    super(...(given.length ? given : [Date.now()]));
  }

  static now() {
    return Math.floor(since * 1000 + (Real.now() - since * 1000) * factor);
  }
};

// Node dates answers by itself, with a clock that it keeps from everyone.
const emit = http.Server.prototype.emit;
http.Server.prototype.emit = function (event, request, response, ...rest) {
  if (event === "request") response.setHeader("Date", new Date().toUTCString());
  return emit.call(this, event, request, response, ...rest);
};
