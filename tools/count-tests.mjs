// Prints, as one line, what a vitest JSON report counted. Exits 1 when a test or a test file failed, and when no test ran.
import { existsSync, readFileSync } from "node:fs";

const file = process.argv[2];
const report = file !== undefined && existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {};
const passed = report.numPassedTests ?? 0;
const failed = report.numFailedTests ?? 0;
const skipped = (report.numPendingTests ?? 0) + (report.numTodoTests ?? 0);
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = report.success === true && passed > 0 && failed === 0 ? 0 : 1;
