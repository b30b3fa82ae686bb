// Runs a script of this directory to its end. When the job is cancelled, the script is told, and may still end well.
"use strict";
const { spawn } = require("node:child_process");
const path = require("node:path");

module.exports = (name) => {
  const script = spawn("sh", [path.join(__dirname, name)], { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => script.kill(signal));
  script.on("error", (error) => {
    console.log(`::error title=eg::${error.message}`);
    process.exitCode = 1;
  });
  script.on("exit", (code) => {
    process.exitCode = code ?? 1;
  });
};
