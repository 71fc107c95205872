import { InputError } from "@iommu-lab/core";
import type { Importer } from "./importers.ts";
import { Chance, mutate, randomBytes } from "./mutate.ts";

/** What came of the inputs. */
export interface Outcome {
  /** Inputs that were read. */
  read: number;
  /** Inputs that were refused with an InputError. */
  refused: number;
}

/** An input may keep an importer busy for as long as this, in ms: a thousand times longer than the slowest takes. */
const HANG_MS = 10_000;

/**
 * Gives every importer `count` inputs, one in four of them random bytes and the others its own valid inputs with damages.
 *
 * @throws Error naming the importer, the number of the input and its bytes, where anything but an InputError came out, where
 *   a message does not say what is wrong, or where an input took too long
 */
export function bombard(importers: readonly Importer[], count: number, seed: number): Map<string, Outcome> {
  const outcomes = new Map<string, Outcome>();
  for (const [index, importer] of importers.entries()) {
    const chance = new Chance(seed + 1000 * index);
    const outcome: Outcome = { read: 0, refused: 0 };
    outcomes.set(importer.name, outcome);
    for (let input = 0; input < count; input += 1) {
      const bytes =
        chance.below(4) === 0 ? randomBytes(chance, 512) : mutate(chance, chance.of(importer.seeds), importer.seeds);
      throwAt(importer, bytes, `${importer.name}, seed ${seed}, input ${input}`, outcome);
    }
  }
  return outcomes;
}

function throwAt(importer: Importer, bytes: Uint8Array, which: string, outcome: Outcome): void {
  const started = performance.now();
  try {
    importer.read(bytes);
    outcome.read += 1;
  } catch (error) {
    if (!(error instanceof InputError) || error.message.length < 8 || error.message.length > 4000) {
      throw new Error(`${which}: ${String(error)}: ${Buffer.from(bytes).toString("base64").slice(0, 20_000)}`, {
        cause: error,
      });
    }
    outcome.refused += 1;
  }
  if (performance.now() - started > HANG_MS) {
    throw new Error(`${which}: hangs: ${Buffer.from(bytes).toString("base64").slice(0, 20_000)}`);
  }
}
