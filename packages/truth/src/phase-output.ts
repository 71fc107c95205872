/** What the shell printed about a phase's one action. */
export interface PhaseOutput {
  /** The group's type before the action, where the phase printed it first. */
  readonly typeBefore: string | undefined;
  /** The group's type after the action, where the phase printed it last. */
  readonly typeAfter: string | undefined;
  /** The reset methods, where the phase printed them. */
  readonly methods: string | undefined;
  /** `0` or the errno behind the shell's message; undefined when the phase printed no result. */
  readonly result: string | undefined;
}

/** What a C library prints for an errno. */
const MESSAGES: readonly (readonly [string, string])[] = [
  ["Operation not permitted", "EPERM"],
  ["No such file or directory", "ENOENT"],
  ["Input/output error", "EIO"],
  ["No such device or address", "ENXIO"],
  ["No such device", "ENODEV"],
  ["Resource temporarily unavailable", "EAGAIN"],
  ["Cannot allocate memory", "ENOMEM"],
  ["Permission denied", "EACCES"],
  ["Device or resource busy", "EBUSY"],
  ["Resource busy", "EBUSY"],
  ["Invalid argument", "EINVAL"],
  ["Inappropriate ioctl for device", "ENOTTY"],
  ["Operation not supported", "EOPNOTSUPP"],
  ["Connection timed out", "ETIMEDOUT"],
];

const METHODS = /^(?:(?:device_specific|acpi|flr|af_flr|pm|bus|cxl_bus)(?: |$))+$/u;

const TYPES: ReadonlySet<string> = new Set(["DMA", "DMA-FQ", "identity", "blocked", "unmanaged"]);

/** Reads what a phase printed. Lines that are no group type, no error message and no `rc=` line are left out. */
export function parseOutput(output: string): PhaseOutput {
  const lines = output.split("\n").map((line) => line.trim());
  const first = lines[0] ?? "";
  const last = lines.at(-1) ?? "";
  const rc = lines.find((line) => line.startsWith("rc="));
  const message = MESSAGES.find(([text]) => output.includes(text));
  let result: string | undefined;
  if (message !== undefined) {
    result = message[1];
  } else if (rc !== undefined) {
    result = rc === "rc=0" ? "0" : rc;
  }
  return {
    typeBefore: lines.length > 1 && TYPES.has(first) ? first : undefined,
    typeAfter: TYPES.has(last) ? last : undefined,
    methods: lines.find((line) => METHODS.test(line)),
    result,
  };
}
