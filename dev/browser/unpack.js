// Unpacks the npm package's browser: node unpack.js TARGET; archives are left as tar files there.

"use strict";

const { createReadStream, createWriteStream, mkdirSync, readdirSync } = require("node:fs");
const { basename, join } = require("node:path");
const { pipeline } = require("node:stream/promises");
const { createBrotliDecompress } = require("node:zlib");

const packed = join(__dirname, "node_modules", "@sparticuz", "chromium", "bin");
const target = process.argv[2];

async function unpack(name) {
  const to = createWriteStream(join(target, basename(name, ".br")), { mode: 0o755 });
  await pipeline(createReadStream(join(packed, name)), createBrotliDecompress(), to);
}

mkdirSync(target, { recursive: true });
Promise.all(readdirSync(packed).filter((name) => name.endsWith(".br")).map(unpack)).catch(
  (error) => {
    console.error(`The browser cannot be unpacked: ${error.message}`);
    process.exitCode = 1;
  },
);
