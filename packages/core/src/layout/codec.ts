/** A value of a decoded structure. An integer above 2^53 is a string such as `"0xfffffffffffff000"`. */
export type LayoutValue = number | boolean | string | readonly LayoutValue[] | LayoutFields;

/** A decoded structure: fields by name. */
export interface LayoutFields {
  readonly [name: string]: LayoutValue;
}

/** What {@link LayoutCodec.decode} gives. */
export interface DecodedLayout {
  /** The fields. `encode` takes them back, bit for bit; bits of no field are in `reserved` when they are set. */
  readonly fields: LayoutFields;
  /** What the structure means and what the hardware would do with it: one plain sentence each. */
  readonly meaning: readonly string[];
}

/**
 * A layout of silicon or firmware as bytes and as fields: what `iommu-lab decode KIND HEX` and `encode KIND JSON` use.
 * `encode(decode(bytes).fields)` gives the same bytes for every input that `decode` takes.
 */
export interface LayoutCodec {
  /** Name on the command line, such as `ste` or `vtd-pasid`. */
  readonly kind: string;
  /** One line for a list, such as `Stream table entry`. */
  readonly title: string;
  /** Where the layout is specified, such as `SMMUv3 §5.2`. */
  readonly source: string;
  /** Lengths taken, in bytes; absent when the content says its length. */
  readonly sizes?: readonly number[];
  /** A valid example, as hexadecimal digits of its bytes in memory order. */
  readonly example: string;
  /**
   * @param bytes in memory order
   * @param file named in errors
   * @throws InputError for a wrong length or an undecodable content, with the offset
   */
  decode(bytes: Uint8Array, file?: string): DecodedLayout;
  /**
   * @param fields those of `decode`; what is absent is zero. JSON from outside goes through `layoutFields` first
   * @throws InputError for an unknown field, a wrong type or a value that does not fit
   */
  encode(fields: LayoutFields): Uint8Array;
}
