import type { Digest } from "./digest.ts";
import { KernelOops } from "./errors.ts";
import type { Acquire, Op } from "./op.ts";

/** `exclusive` = mutex, spin lock or writer; `shared` = reader. */
export type LockMode = "exclusive" | "shared";

/** Who holds a lock: an operation under a scheduler. */
export interface LockOwner {
  /** Number of the operation. */
  readonly id: number;
  /** Its name, for reports. */
  readonly name: string;
}

/**
 * A kernel lock as a scheduler object: it has the kernel's name, knows its owners, and a wait for it that can never end
 * is reported with the cycle. Only the scheduler grants it.
 */
export class Lock {
  /** The kernel's name of the lock, such as `group->mutex`. */
  readonly name: string;
  /** The request to yield for exclusive ownership. */
  readonly exclusive: Acquire;
  /** The request to yield for shared ownership. */
  readonly shared: Acquire;
  #owners: LockOwner[] = [];
  #mode: LockMode = "exclusive";

  constructor(name: string) {
    this.name = name;
    this.exclusive = { kind: "acquire", lock: this, mode: "exclusive" };
    this.shared = { kind: "acquire", lock: this, mode: "shared" };
  }

  /** The operations that hold it, in the order they got it. */
  get owners(): readonly LockOwner[] {
    return this.#owners;
  }

  /** Whether somebody holds it. */
  get held(): boolean {
    return this.#owners.length > 0;
  }

  /** Whether a request of this mode would be granted now. */
  free(mode: LockMode): boolean {
    return this.#owners.length === 0 || (mode === "shared" && this.#mode === "shared");
  }

  /** Called by the scheduler alone. */
  grant(owner: LockOwner, mode: LockMode): void {
    this.#mode = mode;
    this.#owners.push(owner);
  }

  /** Gives it back. The kernel's unlock functions do not block, so this is no operation. */
  release(owner?: LockOwner): void {
    if (this.#owners.length === 0) {
      throw new Error(`${this.name} is released but not held`);
    }
    const index = owner === undefined ? this.#owners.length - 1 : this.#owners.indexOf(owner);
    if (index < 0) {
      throw new Error(`${this.name} is released by ${owner?.name}, who does not hold it`);
    }
    this.#owners.splice(index, 1);
  }

  /** Writes who holds it, and how. */
  digest(into: Digest): void {
    into.number(this.#owners.length);
    if (this.held) {
      into.text(this.#mode);
    }
    for (const { name } of this.#owners) {
      into.text(name);
    }
  }
}

/** Runs `body` under the lock. An oops leaves the lock held, as in the kernel; every other error releases it. */
export function* withLock<T>(lock: Lock, body: () => Op<T>, mode: LockMode = "exclusive"): Op<T> {
  yield mode === "exclusive" ? lock.exclusive : lock.shared;
  try {
    const result = yield* body();
    lock.release();
    return result;
  } catch (error) {
    if (!(error instanceof KernelOops)) {
      lock.release();
    }
    throw error;
  }
}
