import ts from "typescript";
import { expect, it } from "vitest";
import { floatingOps } from "../tools/floating-ops.mjs";

/** What the checker says of a file, as "line what". */
function judge(text: string): string[] {
  const name = "/example.ts";
  const options: ts.CompilerOptions = { target: ts.ScriptTarget.ES2023, lib: ["lib.es2023.d.ts"], types: [] };
  const host = ts.createCompilerHost(options);
  const { getSourceFile } = host;
  host.getSourceFile = (file, ...rest) =>
    file === name ? ts.createSourceFile(file, text, ts.ScriptTarget.ES2023) : getSourceFile(file, ...rest);
  const program = ts.createProgram([name], options, host);
  return floatingOps(program, (file) => file === name).map((line) => line.replace(/^.*example\.ts:(\d+):\d+ /, "$1 "));
}

it("finds operations that nobody runs, and leaves those that somebody does", () => {
  const text = `type Op<T> = Generator<string, T, void>;
declare function attach(): Op<boolean>;
declare const maybe: { attach?(): Op<void> };
declare function plain(callback: () => void): void;
declare function run<T>(op: Op<T>): T;
let kept: Op<boolean> | undefined;
export function* flow(list: readonly number[]): Op<boolean> {
  attach();
  maybe.attach?.();
  if (attach()) { list.at(0); }
  list.length > 0 && attach();
  list.length > 0 ? attach() : undefined;
  plain(() => attach());
  list.forEach(function* () { yield* attach(); });
  plain(attach);
  const value = !attach();
  yield* attach();
  if (yield* attach()) { kept = attach(); }
  run(attach());
  plain(() => run(attach()));
  plain(() => { kept = undefined; });
  return value && (yield* attach());
}`;
  const makes = "makes an operation and does not run it";
  const gives = "gives an operation to a caller that runs plain functions";
  expect(judge(text)).toEqual([
    ...[8, 9, 10, 11, 12].map((line) => `${line} ${makes}`),
    ...[13, 14, 15].map((line) => `${line} ${gives}`),
    `16 ${makes}`,
  ]);
});
