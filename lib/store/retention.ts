/** Which attempts of a part are kept. */

/** Attempts of a number that are kept in any case: the newest ones. */
export const newest = 3

/** Milliseconds for which an attempt is kept in any case: its client may hold the answer of it, whatever was acknowledged later. */
export const young = 900_000
