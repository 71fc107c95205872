import { InputError } from "../sim/errors.ts";
import type { KernelProfile } from "./profile.ts";

/**
 * What a plugin contributes for the kernel that runs.
 *
 * @param strategies by kernel id, such as `linux-7.2`
 * @param owner who has them, for the error
 * @throws InputError for a kernel that the owner does not know
 * @example
 * ```ts
 * const probe = strategyOf(kernel, { "linux-6.12": probe612, "linux-7.2": probe72 }, "intel-vtd");
 * ```
 */
export function strategyOf<T>(kernel: KernelProfile, strategies: Readonly<Record<string, T>>, owner: string): T {
  const found = Object.hasOwn(strategies, kernel.id) ? strategies[kernel.id] : undefined;
  if (found === undefined) {
    throw new InputError(
      `${owner} has no driver for ${kernel.id}: expected one of ${Object.keys(strategies).join(", ")}`,
    );
  }
  return found;
}
