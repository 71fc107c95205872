import { defaultClientConditions, defaultServerConditions } from "vite";
import { defineConfig } from "vitest/config";

const source = "@iommu-lab/source";
const report = process.env["TEST_REPORT"];

export default defineConfig({
  // Node reads the second, a browser project would read the first.
  resolve: { conditions: [source, ...defaultClientConditions] },
  ssr: { resolve: { conditions: [source, ...defaultServerConditions] } },
  test: {
    pool: "threads",
    // Packages keep no mutable module state, so test files share one. A large matrix runs six times faster.
    isolate: false,
    // Nothing here measures time: a slow machine is no failure.
    testTimeout: 120_000,
    reporters: report === undefined ? ["default"] : ["default", ["json", { outputFile: report }]],
    coverage: {
      provider: "v8",
      include: ["packages/*/src/**/*.ts"],
      reporter: ["text-summary", "json-summary"],
    },
    projects: [
      {
        extends: true,
        test: {
          name: "node",
          include: ["packages/*/test/**/*.test.ts", "test/**/*.test.ts"],
          // The big numbers: `pnpm test:long`.
          exclude:
            process.env["LONG"] === undefined ? ["**/node_modules/**", "**/*.long.test.ts"] : ["**/node_modules/**"],
          setupFiles: ["test/silence.ts"],
        },
      },
    ],
  },
});
