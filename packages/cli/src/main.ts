import process from "node:process";
import { runCommand } from "./cli.ts";

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") {
    process.exit(0);
  }
  throw error;
});

process.exitCode = runCommand(process.argv.slice(2));
