import process from "node:process";

/** One thing to time. Everything it needs is built before the first call. */
export interface Bench {
  /** What one operation is, in a few words. */
  readonly title: string;
  /** Runs `count` operations; the result keeps the compiler from dropping the work. */
  readonly run: (count: number) => number;
  /** The same for the baseline: what the operation cannot do without, such as its dependent loads. */
  readonly baseline: (count: number) => number;
  /** What the baseline is, in a few words. */
  readonly baselineTitle: string;
  /** Operations in one timed round. Default 20000. */
  readonly count?: number;
}

/** What {@link measure} found. */
export interface Timing {
  /** What was timed. */
  readonly title: string;
  /** Nanoseconds per operation, median of the rounds. */
  readonly ns: number;
  /** The baseline's, from the same rounds. */
  readonly baselineNs: number;
  /** Median of the rounds' ratios. */
  readonly ratio: number;
  /** Bytes allocated per operation. */
  readonly bytes: number;
  /** What the baseline is. */
  readonly baselineTitle: string;
}

const ROUNDS = 41;
const WARM_UP_ROUNDS = 15;

/**
 * Times a bench: subject and baseline take turns, so that whatever slows the machine slows both. The first rounds warm
 * the compiler up and do not count.
 */
export function measure(bench: Bench): Timing {
  const count = bench.count ?? 20_000;
  const subject: number[] = [];
  const baseline: number[] = [];
  let sink = 0;
  for (let round = 0; round < WARM_UP_ROUNDS + ROUNDS; round += 1) {
    const start = process.hrtime.bigint();
    sink += bench.run(count);
    const middle = process.hrtime.bigint();
    sink += bench.baseline(count);
    const end = process.hrtime.bigint();
    if (round >= WARM_UP_ROUNDS) {
      subject.push(Number(middle - start) / count);
      baseline.push(Number(end - middle) / count);
    }
  }
  const bytes = allocated(() => (sink += bench.run(count))) / count;
  if (Number.isNaN(sink)) {
    throw new Error(`${bench.title}: the operations gave no number`);
  }
  return {
    title: bench.title,
    ns: median(subject),
    baselineNs: median(baseline),
    ratio: median(subject.map((ns, round) => ns / (baseline[round] ?? ns))),
    bytes,
    baselineTitle: bench.baselineTitle,
  };
}

/**
 * Bytes on the heap that a function leaves behind or throws away: the least of several runs, since a collection in the
 * middle only makes a run look smaller than zero. The command gives the young generation room for a whole run.
 */
function allocated(run: () => void): number {
  let least = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < 7; attempt += 1) {
    const before = process.memoryUsage().heapUsed;
    run();
    const grown = process.memoryUsage().heapUsed - before;
    if (grown >= 0) {
      least = Math.min(least, grown);
    }
  }
  return Number.isFinite(least) ? least : 0;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
