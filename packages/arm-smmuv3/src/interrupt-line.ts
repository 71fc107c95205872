import type { Digest } from "@iommu-lab/core";

/**
 * A wired, edge-triggered interrupt between an SMMU and the CPUs: hardware raises it, a handler takes it. An edge that
 * arrives while one is pending is not counted twice.
 */
export class InterruptLine {
  /** Such as `smmu0 gerror`. */
  readonly name: string;
  #pending = false;

  constructor(name: string) {
    this.name = name;
  }

  /** Whether a handler has to run. */
  get pending(): boolean {
    return this.#pending;
  }

  /** Hardware: an edge. */
  raise(): void {
    this.#pending = true;
  }

  /** The handler starts. */
  take(): void {
    this.#pending = false;
  }

  /** Writes whether it is pending. */
  digest(into: Digest): void {
    into.number(this.#pending ? 1 : 0);
  }
}

/** The interrupts of one SMMU. Source: SMMUv3 §3.18. */
export interface InterruptLines {
  /** A global error became active. */
  readonly gerror: InterruptLine;
  /** An event record arrived. */
  readonly eventq: InterruptLine;
  /** A page request arrived. */
  readonly priq: InterruptLine;
}

/** The three lines of an SMMU. */
export function interruptLines(name: string): InterruptLines {
  return {
    gerror: new InterruptLine(`${name} gerror`),
    eventq: new InterruptLine(`${name} eventq`),
    priq: new InterruptLine(`${name} priq`),
  };
}
