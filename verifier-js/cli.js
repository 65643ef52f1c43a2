// node verifier-js/cli.js bundle.zip [--vkey K] [--anchor FILE] [--witness K]… [--heartbeat S] [--strict]
// node verifier-js/cli.js --cases cases.json   (a list of {bundle, vkey, anchor, witnesses, heartbeat, strict}): one report per line
"use strict";

const { readFileSync } = require("node:fs");
const { verify } = require("./aliquot-verify.js");

async function one({ bundle, anchor, ...known }) {
  return verify(new Uint8Array(readFileSync(bundle)), { ...known, anchor: anchor ? new Uint8Array(readFileSync(anchor)) : null });
}

async function main(given) {
  if (given[0] === "--cases") {
    for (const item of JSON.parse(readFileSync(given[1], "utf8"))) console.log(JSON.stringify(await one(item)));
    return 0;
  }
  const options = { bundle: null, witnesses: [] };
  for (let i = 0; i < given.length; i++) {
    if (given[i] === "--strict") options.strict = true;
    else if (given[i] === "--witness") options.witnesses.push(given[++i]);
    else if (given[i] === "--heartbeat") options.heartbeat = Number(given[++i]);
    else if (given[i] === "--vkey" || given[i] === "--anchor") options[given[i].slice(2)] = given[++i];
    else if (options.bundle === null && !given[i].startsWith("--")) options.bundle = given[i];
    else return usage();
  }
  if (options.bundle === null) return usage();
  const report = await one(options);
  console.log(JSON.stringify(report, null, 2));
  return report.exit_code;
}

function usage() {
  console.error("usage: node cli.js bundle.zip [--vkey K] [--anchor FILE] [--witness K] [--heartbeat SECONDS] [--strict]");
  return 2;
}

main(process.argv.slice(2)).then((code) => { process.exitCode = code; });
