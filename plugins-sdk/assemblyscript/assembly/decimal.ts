/**
 * Decimal text to the nearest double, always correctly rounded. AssemblyScript's own `parseFloat` is not: it is off by
 * some units in the last place, and by whole powers of ten for numbers such as 1.0510488605977713e46.
 */

/** 10^0 … 10^22 are exact doubles: one multiplication or division of an exact integer by them rounds once. */
const POWERS: StaticArray<f64> = [
  1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
  1e21, 1e22,
];
const MAX_FAST_EXPONENT = 22;
const EXACT_INTEGERS: u64 = 1 << 53;
/** Digits that a u64 surely holds. */
const SAFE_DIGITS = 18;
/** No midpoint between doubles has more significant digits: any further digit can only break a tie. */
const MAX_DIGITS = 800;
/** Exponents past these are zero or infinite whatever the digits are. */
const MAX_EXPONENT = 400;
const MIN_EXPONENT = -1200;
/** More than a guess can be off, in units of the last place: it bounds the search. */
const MAX_STEPS = 64;

/** The value of a JSON number literal. Text that is none gives nonsense, not a trap. */
export function parseDecimal(raw: string): f64 {
  let at = 0;
  const negative = raw.length > 0 && raw.charCodeAt(0) == 0x2d;
  if (negative) at++;
  let mantissa: u64 = 0;
  let digits = 0; // significant digits seen
  let exponent = 0;
  let pointed = false;
  const kept: u8[] = [];
  for (; at < raw.length; at++) {
    const unit = raw.charCodeAt(at);
    if (unit == 0x2e) {
      pointed = true;
      continue;
    }
    const digit = unit - 0x30;
    if (<u32>digit > 9) break;
    if (digits > 0 || digit > 0) {
      digits++;
      if (digits <= SAFE_DIGITS) mantissa = mantissa * 10 + digit;
      if (digits <= MAX_DIGITS) kept.push(<u8>digit);
      else if (digit > 0) kept[MAX_DIGITS - 1] |= 1;
      if (digits > MAX_DIGITS && !pointed) exponent++;
    }
    if (pointed && digits <= MAX_DIGITS) exponent--;
  }
  if (at < raw.length && (raw.charCodeAt(at) | 0x20) == 0x65) exponent += exponentAt(raw, at + 1);
  let value: f64 = 0;
  if (digits > 0) {
    if (digits <= SAFE_DIGITS && mantissa <= EXACT_INTEGERS && abs(exponent) <= MAX_FAST_EXPONENT) {
      const power = unchecked(POWERS[abs(exponent)]);
      value = exponent < 0 ? <f64>mantissa / power : <f64>mantissa * power;
    } else if (exponent > MAX_EXPONENT) {
      value = Infinity;
    } else if (exponent >= MIN_EXPONENT) {
      const guess = scaledDouble(<f64>mantissa, exponent + max(kept.length - SAFE_DIGITS, 0));
      value = nearestDouble(kept, exponent, guess);
    }
  }
  return negative ? -value : value;
}

function exponentAt(raw: string, from: i32): i32 {
  let at = from;
  const negative = at < raw.length && raw.charCodeAt(at) == 0x2d;
  if (at < raw.length && (negative || raw.charCodeAt(at) == 0x2b)) at++;
  let value = 0;
  for (; at < raw.length; at++) value = min(value * 10 + (raw.charCodeAt(at) - 0x30), 100_000);
  return negative ? -value : value;
}

/** mantissa × 10^exponent, rounded at every step: off by less than `MAX_STEPS` units in the last place. */
function scaledDouble(mantissa: f64, exponent: i32): f64 {
  let value = mantissa;
  let left = abs(exponent);
  while (left > 0) {
    const step = min(left, MAX_FAST_EXPONENT);
    const power = unchecked(POWERS[step]);
    value = exponent < 0 ? value / power : value * power;
    left -= step;
  }
  return value;
}

/** Moves a near guess to the double nearest to digits × 10^exponent (ties to even), by comparing whole numbers. */
function nearestDouble(digits: u8[], exponent: i32, guess: f64): f64 {
  let bits = reinterpret<u64>(guess == Infinity ? f64.MAX_VALUE : guess);
  const decimal = scaled(digits, exponent);
  for (let step = 0; step < MAX_STEPS; step++) {
    // The midpoint above `bits` is (2m + 1) × 2^(power − 1), also where the next double is the next power of two.
    const above = compareToMidpoint(decimal, exponent, bits);
    if (above > 0 || (above == 0 && (bits & 1) == 1)) {
      bits++;
      if (bits == reinterpret<u64>(Infinity)) return Infinity;
      continue;
    }
    if (bits == 0) return 0;
    const below = compareToMidpoint(decimal, exponent, bits - 1);
    if (below < 0 || (below == 0 && (bits & 1) == 1)) {
      bits--;
      continue;
    }
    break;
  }
  return reinterpret<f64>(bits);
}

/** digits × 10^max(exponent, 0), little-endian limbs. */
function scaled(digits: u8[], exponent: i32): u32[] {
  const limbs: u32[] = [0];
  for (let i = 0; i < digits.length; i++) multiplyAdd(limbs, 10, digits[i]);
  timesPowerOfTen(limbs, exponent);
  return limbs;
}

function timesPowerOfTen(limbs: u32[], exponent: i32): void {
  let left = exponent;
  for (; left >= 9; left -= 9) multiplyAdd(limbs, 1_000_000_000, 0);
  for (; left > 0; left--) multiplyAdd(limbs, 10, 0);
}

/** Sign of digits × 10^exponent minus the midpoint between the double of `bits` and the next one up. */
function compareToMidpoint(decimal: u32[], exponent: i32, bits: u64): i32 {
  const field = <i32>(bits >> 52);
  const fraction = bits & 0xfffffffffffff;
  const mantissa = field == 0 ? fraction : fraction | (1 << 52);
  const power = max(field, 1) - 1075 - 1;
  const midpoint = mantissa * 2 + 1;
  const right: u32[] = [<u32>midpoint, <u32>(midpoint >> 32)];
  timesPowerOfTen(right, -exponent);
  if (power >= 0) return compare(decimal, shifted(right, power));
  return compare(shifted(decimal, -power), right);
}

function multiplyAdd(limbs: u32[], factor: u32, add: u32): void {
  let carry: u64 = add;
  for (let i = 0; i < limbs.length; i++) {
    carry += <u64>limbs[i] * factor;
    limbs[i] = <u32>carry;
    carry >>= 32;
  }
  if (carry) limbs.push(<u32>carry);
}

function shifted(limbs: u32[], by: i32): u32[] {
  const whole = by >> 5;
  const rest = by & 31;
  const out = new Array<u32>(limbs.length + whole + 1);
  for (let i = 0; i < limbs.length; i++) {
    const wide = <u64>limbs[i] << rest;
    out[i + whole] |= <u32>wide;
    out[i + whole + 1] = <u32>(wide >> 32);
  }
  return out;
}

function compare(left: u32[], right: u32[]): i32 {
  for (let i = max(left.length, right.length) - 1; i >= 0; i--) {
    const a = i < left.length ? left[i] : 0;
    const b = i < right.length ? right[i] : 0;
    if (a != b) return a > b ? 1 : -1;
  }
  return 0;
}
