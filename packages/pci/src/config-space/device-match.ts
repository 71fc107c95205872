/** A device ID, a range of them (first, last), or a range with a step. */
export type DeviceRange =
  | number
  | readonly [first: number, last: number]
  | readonly [first: number, last: number, step: number];

/** Which functions a rule of the kernel is for. */
export interface DeviceMatch {
  /** Vendor ID. */
  readonly vendor: number;
  /** Device IDs; absent = any. */
  readonly devices?: readonly DeviceRange[];
}

/** Whether ids are those of a rule. */
export function matchesDevice(matches: readonly DeviceMatch[], vendor: number, device: number): boolean {
  return matches.some(
    (match) =>
      match.vendor === vendor &&
      (match.devices === undefined || match.devices.some((range) => includesDevice(range, device))),
  );
}

function includesDevice(range: DeviceRange, device: number): boolean {
  if (typeof range === "number") {
    return range === device;
  }
  const [first, last, step = 1] = range;
  return device >= first && device <= last && (device - first) % step === 0;
}
