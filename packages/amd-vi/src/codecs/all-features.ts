import type { Features } from "../layout/features.ts";
import { decodeFeatures } from "../layout/features.ts";

/** HATS 2, GATS 1, GLXSup 2: 6 host levels, 5 guest levels, GCR3 tables of 3 levels. */
const LEVELS = (2n << 10n) | (1n << 12n) | (2n << 14n);
const LEVEL_FIELDS = 0x3fn << 10n;

/** A unit with every feature: what it refuses, every unit refuses. */
export const ALL_FEATURES: Features = decodeFeatures(
  (0xffffffffffffffffn & ~LEVEL_FIELDS) | LEVELS,
  0xffffffffffffffffn,
);
