/** The errno names that the modelled kernel paths return. */
export type Errno =
  | "EPERM"
  | "ENOENT"
  | "EIO"
  | "ENXIO"
  | "EAGAIN"
  | "ENOMEM"
  | "EACCES"
  | "EBUSY"
  | "EEXIST"
  | "ENODEV"
  | "EINVAL"
  | "ENOSPC"
  | "ERANGE"
  | "EOPNOTSUPP"
  | "ETIMEDOUT"
  | "ENOTTY"
  | "EPROBE_DEFER";

/**
 * What a Linux function returned instead of 0. Thrown by kernel operations and caught where the kernel looks at the
 * return value.
 *
 * @example
 * ```ts
 * throw new KernelError("EBUSY", "iommu_group_claim_dma_owner: the group has users");
 * ```
 */
export class KernelError extends Error {
  /** The errno name, such as `EBUSY`. */
  readonly errno: Errno;

  constructor(errno: Errno, what: string) {
    super(`${errno}: ${what}`);
    this.name = "KernelError";
    this.errno = errno;
  }
}

/**
 * A kernel bug that ends the running operation with its locks held, as an oops does. The model reports it as a result;
 * it never repairs what the kernel would leave broken.
 */
export class KernelOops extends Error {
  constructor(what: string) {
    super(what);
    this.name = "KernelOops";
  }
}

/** Where in the user's input an {@link InputError} was found. */
export interface InputPosition {
  /** File name or another name of the input. */
  readonly file?: string;
  /** Line, counted from 1. */
  readonly line?: number;
  /** Byte offset, counted from 0. */
  readonly offset?: number;
}

/** Input that a user can correct: says where, what was found, what was expected. */
export class InputError extends Error {
  /** Where it was found. */
  readonly position: InputPosition;

  constructor(what: string, position: InputPosition = {}) {
    super(`${describePosition(position)}${what}`);
    this.name = "InputError";
    this.position = position;
  }
}

function describePosition(at: InputPosition): string {
  const parts: string[] = [];
  if (at.file !== undefined) {
    parts.push(at.file);
  }
  if (at.line !== undefined) {
    parts.push(String(at.line));
  }
  if (at.offset !== undefined) {
    parts.push(`offset 0x${at.offset.toString(16)}`);
  }
  return parts.length === 0 ? "" : `${parts.join(":")}: `;
}
