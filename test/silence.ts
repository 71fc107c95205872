import { inspect } from "node:util";

/** A test that prints has something to assert instead. */
function refuse(...words: readonly unknown[]): never {
  throw new Error(
    `a test printed: ${words.map((word) => (typeof word === "string" ? word : inspect(word))).join(" ")}`,
  );
}

for (const method of ["debug", "dir", "error", "info", "log", "table", "trace", "warn"] as const) {
  console[method] = refuse;
}
