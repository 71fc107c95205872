import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";

const guides = path.resolve(import.meta.dirname, "../docs/guides");
const tests = path.join(import.meta.dirname, "guides");

/** The TypeScript blocks of a guide. */
function blocks(guide: string): string[] {
  const text = readFileSync(path.join(guides, guide), "utf8");
  return [...text.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code ?? "");
}

describe("the code in the guides is code that runs", () => {
  const known = readdirSync(tests).map((file) => readFileSync(path.join(tests, file), "utf8"));

  it.each(readdirSync(guides))("%s", (guide) => {
    const code = blocks(guide);
    expect(code.length).toBeGreaterThan(0);
    for (const block of code) {
      expect(known).toContain(block);
    }
  });

  it("a comparison of two vendors takes less than 30 lines", () => {
    const lines = readFileSync(path.join(tests, "compose-a-platform.test.ts"), "utf8").trimEnd().split("\n");
    expect(lines.length).toBeLessThan(30);
  });
});
