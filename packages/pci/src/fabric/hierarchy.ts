import type { MemoryTarget } from "./memory-target.ts";
import type { Port } from "./port.ts";

const NO_PORTS: readonly Port[] = [];

/** Which ports and functions hang together, as memory requests find them. Ports become known with what is below them. */
export class Hierarchy {
  /** Ports by the port above them; root ports under undefined. */
  readonly #ports = new Map<Port | undefined, Port[]>();
  /** Functions whose base addresses have sizes. */
  readonly #targets: MemoryTarget[] = [];

  /** Takes in the ports above a function. */
  add(target: MemoryTarget): void {
    for (let port = target.port; port !== undefined; port = port.upstream) {
      const list = this.#ports.get(port.upstream);
      if (list === undefined) {
        this.#ports.set(port.upstream, [port]);
      } else if (!list.includes(port)) {
        list.push(port);
      }
    }
  }

  /** Forgets a function. */
  remove(target: MemoryTarget): void {
    const index = this.#targets.indexOf(target);
    if (index >= 0) {
      this.#targets.splice(index, 1);
    }
  }

  /** Ports right below a port, or all root ports. */
  portsBelow(port: Port | undefined): readonly Port[] {
    return this.#ports.get(port) ?? NO_PORTS;
  }

  /** A function's base addresses have sizes: it can be reached. */
  memoryDeclared(target: MemoryTarget): void {
    if (!this.#targets.includes(target)) {
      this.#targets.push(target);
    }
  }

  /** The function below a port that takes a page, where every port on the way down passes it. */
  claimantBelow(port: Port, page: number): MemoryTarget | undefined {
    return this.#targets.find((target) => target.claims(page) && reaches(port, target, page));
  }

  /** The function anywhere that takes a page when it comes from the root complex. */
  claimant(page: number): MemoryTarget | undefined {
    for (const target of this.#targets) {
      if (target.claims(page) && reaches(undefined, target, page)) {
        return target;
      }
    }
    return undefined;
  }

  /** Another function of the same device that takes a page. */
  claimantInside(from: MemoryTarget, page: number): MemoryTarget | undefined {
    return this.#targets.find((other) => other !== from && sameDevice(from, other) && other.claims(page));
  }
}

/** Whether a page comes down from `top` (undefined = the root complex) to the function. */
function reaches(top: Port | undefined, target: MemoryTarget, page: number): boolean {
  for (let port = target.port; port !== undefined; port = port.upstream) {
    if (!port.leadsTo(page)) {
      return false;
    }
    if (port === top) {
      return true;
    }
  }
  return top === undefined;
}

/** A link has one device; integrated functions are one device when bus and device number agree. */
function sameDevice(a: MemoryTarget, b: MemoryTarget): boolean {
  return a.port === b.port && (a.port !== undefined || a.rid >>> 3 === b.rid >>> 3);
}
