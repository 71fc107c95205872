import type { DescribedFunction } from "../import/machine-description.ts";

const STEP = /^(?:[\da-f]{4,8}:)?([\da-f]{2}):[\da-f]{2}\.[0-7]$/i;

/**
 * Bus numbers of bridges that are told only by the paths of what is below them: by bridge, the bus right below it and the
 * highest one that is seen.
 */
export function pathBuses(
  functions: readonly DescribedFunction[],
): ReadonlyMap<string, { readonly secondary: number; readonly subordinate: number }> {
  const found = new Map<string, { secondary: number; subordinate: number }>();
  for (const { bdf, path = [] } of functions) {
    const domain = bdf.slice(0, -7);
    const buses = path.map((step) => Number.parseInt(STEP.exec(step)?.[1] ?? "", 16));
    for (let index = 0; index + 1 < path.length; index += 1) {
      const bridge = `${domain}${(path[index] ?? "").slice(-7)}`;
      const secondary = buses[index + 1] ?? Number.NaN;
      const highest = Math.max(...buses.slice(index + 1));
      if (!Number.isNaN(secondary) && !Number.isNaN(highest)) {
        const known = found.get(bridge);
        found.set(bridge, { secondary, subordinate: Math.max(known?.subordinate ?? 0, highest) });
      }
    }
  }
  return found;
}
