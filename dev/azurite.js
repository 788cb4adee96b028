// Runs Azurite's queue and table services in one process, which ends cleanly when its standard input does.
//
// Azurite's own programs would start its blob service as well, take a second to start, let the table service die of
// SIGTERM without writing what it has acknowledged, and know no way to end cleanly on Windows.
"use strict";

const path = require("node:path");

const installed = path.join(__dirname, "node_modules");
require("node:module").enableCompileCache(path.join(installed, ".cache", "node"));

// Standard output carries one line, the ports (or the error), for the process that started us.
console.log = console.error;

const azurite = (name) => require(path.join(installed, "azurite", "dist", "src", name)).default;
const QueueConfiguration = azurite("queue/QueueConfiguration");
const QueueServer = azurite("queue/QueueServer");
const TableConfiguration = azurite("table/TableConfiguration");
const TableServer = azurite("table/TableServer");

// Azurite's database sorts every index of a collection anew for each batch, and batches it is given are mostly empty or
// of one: what has expired in a queue, the messages that a poll found, bodies that nobody refers to any more.  With
// thousands of messages that is 20 ms for each, and half a minute for all of them, in which nobody is answered.  Where
// it changes documents one by one, it changes its indexes in place.
const { Collection } = require(path.join(installed, "lokijs"));
const { remove, update } = Collection.prototype;
const oneByOne = (change) => function (given) {
  return Array.isArray(given) ? given.forEach((document) => change.call(this, document)) : change.call(this, given);
};
Object.assign(Collection.prototype, {
  remove: oneByOne(remove),
  update: oneByOne(update),
  removeBatchByPositions(positions) {
    this.remove(positions.map((position) => this.data[position]));
  },
});

const HOST = "127.0.0.1";
// What `--silent --skipApiVersionCheck` says to Azurite's own programs: telemetry stays off as nothing turns it on.
const SILENT = [false, undefined];
const NO_DEBUG_LOG = [false, undefined];
const NOT_LOOSE = false;
const SKIP_API_VERSION_CHECK = true;
// No certificate, no OAuth, addresses by path: what stands between the options above and the last one.
const PLAIN = ["", "", "", undefined, false];

const [folder, queuePort, tablePort, kept] = process.argv.slice(2);
const inMemory = kept === "memory";
const file = (name) => path.join(folder, name);

const queue = new QueueServer(
  new QueueConfiguration(
    HOST, Number(queuePort), undefined, file("queue.json"), file("queue-extent.json"),
    [{ locationId: "Default", locationPath: file("queue-bodies"), maxConcurrency: 1 }],
    ...SILENT, ...NO_DEBUG_LOG, NOT_LOOSE, SKIP_API_VERSION_CHECK, ...PLAIN, inMemory,
  ),
);
const table = new TableServer(
  new TableConfiguration(
    HOST, Number(tablePort), undefined, file("table.json"),
    false, ...SILENT, undefined, NOT_LOOSE, SKIP_API_VERSION_CHECK, ...PLAIN, inMemory,
  ),
);

let stopping = false;

async function stop() {
  if (stopping) return;
  stopping = true;
  // Whoever has been sent a request's answer relies on it: finish those first, then write everything down.
  await Promise.all([queue, table].map((server) => new Promise((done) => server.httpServer.close(done))));
  await Promise.all([queue, table].map((server) => server.close()));
  // No process.exit: a write that is under way keeps the process alive until it is on disk.
  process.stdin.destroy();
}

function report(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

Promise.all([queue.start(), table.start()]).then(
  () => {
    process.stdin.on("end", stop).on("error", stop).resume();
    process.on("SIGTERM", stop).on("SIGINT", stop);
    report({ queue: queue.httpServer.address().port, table: table.httpServer.address().port });
  },
  (error) => {
    report({ error: error.code ?? error.message, port: error.port ?? null });
    process.exit(1);
  },
);
