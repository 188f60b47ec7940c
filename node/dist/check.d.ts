/** Wrong types fail at the call, by name. */
/** An error for a value of the wrong type. */
export declare function wrong(field: string, value: unknown, wanted: string): TypeError;
export declare function string(field: string, value: unknown): string;
export declare function strings(field: string, value: unknown): string[];
export declare function number(field: string, value: unknown, unit?: string): number;
/** A time span in milliseconds. */
export declare function ms(field: string, value: unknown): number;
/** A whole number that fits into 32 bits. */
export declare function whole(field: string, value: unknown): number;
export declare function boolean(field: string, value: unknown): boolean;
export declare function callback(field: string, value: unknown): void;
/** An object of strings. */
export declare function fields(field: string, value: unknown): {
    [key: string]: string;
};
type Checks = {
    [name: string]: (field: string, value: never) => unknown;
};
/**
 * Checks every property of an object, and gives what the checks give. One that
 * is undefined counts as left out; one that is not known is an error.
 */
export declare function properties(field: string, value: unknown, checks: Checks): {
    [name: string]: unknown;
};
/** The signal of a call. */
export declare function signal(value: unknown): AbortSignal | undefined;
export {};
