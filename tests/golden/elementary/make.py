#!/usr/bin/python3
"""The table that unit/test_elementary.c reads, and the constants of src/base/elementary.*: by mpmath (Debian:
python3-mpmath) with 700 bits, from the definitions of the functions.

    make.py table > values.tsv      function, argument(s), value as the sum of two f64 (106 bits), all in hexadecimal
    make.py constants               what elementary.h and elementary.c hold as numbers
"""
import random
import struct
import sys

from mpmath import mp, mpf

mp.prec = 700
LOG_MAX = 709.78


def split(value, parts):
    """A value as a sum of f64, the largest first."""
    out = []
    for _ in range(parts):
        out.append(float(value))
        value -= mpf(out[-1])
    return out


def from_bits(bits):
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


def spread(draw, low, high, count):
    return [draw.uniform(low, high) for _ in range(count)]


def sizes(draw, low, high, count, signs=(1,)):
    """Values whose exponents are spread evenly: small ones are as frequent as large ones."""
    return [draw.choice(signs) * draw.uniform(1, 2) * 2.0 ** draw.randint(low, high) for _ in range(count)]


def near(points, ulps):
    return [float(mpf(p)) + k * abs(float(mpf(p))) * 2.0 ** -52 for p in points for k in ulps]


def arguments():
    """{function: [arguments]}: everyday ranges, many sizes, and what is hard: near zeros, near the ends of ranges,
    halfway between steps of the range reduction, near multiples of pi / 2."""
    draw = random.Random(12)
    both = (-1, 1)
    halves = [(n + mpf(1) / 2) * mp.log(2) for n in (-1074, -1022, -30, -2, -1, 0, 1, 2, 30, 1000)]
    quarters = [n * mp.pi / 4 for n in (1, 2, 3, 4, 5, 6, 7, 8, 11, 22, 355, 1000, 710, 2 ** 20, 2 ** 30 + 1, 10 ** 15)]
    yield "exp", (spread(draw, -1, 1, 80) + spread(draw, -40, 40, 80) + spread(draw, -745.1, LOG_MAX, 80)
                  + sizes(draw, -60, 8, 60, both) + near(halves, (-1, 0, 1)))
    yield "expm1", (spread(draw, -1, 1, 150) + spread(draw, -40, 60, 100) + sizes(draw, -200, 5, 100, both)
                    + near([h for h in halves if abs(h) < 40], (-1, 0, 1)))
    yield "log", (spread(draw, 0.5, 2, 120) + sizes(draw, -1070, 1020, 120) + near([1, 2 ** 0.5, 0.5 ** 0.5], range(-3, 4))
                  + [5e-324, from_bits(0x7FEFFFFFFFFFFFFF), 2.0 ** -1022])
    yield "log1p", (spread(draw, -0.5, 0.5, 120) + sizes(draw, -200, 60, 120) + [-x for x in sizes(draw, -80, -2, 80)]
                    + [-0.999, -1 + 2.0 ** -52, 2.0 ** 60, 1e300])
    yield "sin", (spread(draw, -4, 4, 120) + spread(draw, 0, 2 ** 20, 120) + sizes(draw, -200, 1020, 120, both)
                  + near(quarters, (-1, 0, 1)) + [6381956970095103.0 * 2.0 ** 797, 5319372648326541.0 * 2.0 ** 257])
    yield "erf", (spread(draw, -1.2, 1.2, 150) + spread(draw, 0.9, 6.2, 150) + sizes(draw, -300, 2, 80, both)
                  + near([1, 0.875, 6], (-2, -1, 0, 1, 2)))
    yield "tanh", ([struct.unpack("<f", struct.pack("<f", x))[0] for x in
                    spread(draw, -2, 2, 120) + spread(draw, -12, 12, 80) + sizes(draw, -120, 4, 150, both)
                    + near([2.0 ** -9, 9.01], (0, 2 ** 30))])
    yield "log_gamma", spread(draw, 0.01, 4, 80) + sizes(draw, -20, 30, 120) + [0.5, 1.0, 1.5, 2.0, 15.5, 16.0, 25000.5]
    yield "pow", ([(base, -2.0 * i / dim) for base in (10000.0, 500000.0, 1e6) for dim in (80, 128, 256)
                   for i in (1, 7, 31, 39)] + [(draw.uniform(0.001, 1000), draw.uniform(-60, 60)) for _ in range(150)]
                  + [(10.0, n / 8 - 6) for n in range(60)] + [(from_bits(0x3FEFFFFFFFFFFFFF), 2.0 ** 61), (2.0, -1074.0)])


FUNCTIONS = {"exp": mp.exp, "expm1": mp.expm1, "log": mp.log, "log1p": mp.log1p, "sin": mp.sin, "cos": mp.cos, "erf": mp.erf,
             "tanh": mp.tanh, "log_gamma": mp.loggamma, "pow": mp.power}


def table():
    print("# made by make.py: function, argument, second argument or -, value as high + low")
    for name, values in arguments():
        for value in values:
            pair = value if isinstance(value, tuple) else (value,)
            for function in (name, "cos") if name == "sin" else (name,):
                exact = FUNCTIONS[function](*(mpf(v) for v in pair))
                high, low = split(exact, 2)
                print(function, pair[0].hex(), pair[1].hex() if len(pair) == 2 else "-", high.hex(), low.hex(), sep="\t")


def scaled_erfc():
    """exp(x^2) erfc(x) on [7/8, 6] as a polynomial in t = (x - 5/2) / (x + 5/2): weighted by exp(-x^2), which is what its
    error is worth in erf, least squares over Chebyshev's points."""
    degree, half = 12, mpf(5) / 2
    ends = [(x - half) / (x + half) for x in (mpf(7) / 8, mpf(6))]
    count = 70
    rows, right = mp.matrix(count, degree + 1), mp.matrix(count, 1)
    for k in range(count):
        t = (ends[0] + ends[1]) / 2 + (ends[1] - ends[0]) / 2 * mp.cos(mp.pi * (k + mpf(1) / 2) / count)
        x = half * (1 + t) / (1 - t)
        for j in range(degree + 1):
            rows[k, j] = mp.exp(-x * x) * t ** j
        right[k] = mp.erfc(x)
    found = [float(c) for c in mp.lu_solve(rows, right)]
    worst = mpf(0)
    for k in range(400):
        t = ends[0] + (ends[1] - ends[0]) * k / 399
        x = half * (1 + t) / (1 - t)
        worst = max(worst, abs(mp.polyval([mpf(c) for c in reversed(found)], t) * mp.exp(-x * x) - mp.erfc(x)))
    return found, worst


def constants():
    ln2 = mp.log(2)
    high = mp.floor(ln2 * 2 ** 42) / 2 ** 42
    print("log2(e)", float(1 / ln2).hex())
    print("ln 2, 42 bits", float(high).hex(), "and the rest", *(x.hex() for x in split(ln2 - high, 2)))
    print("pi / 2", *(x.hex() for x in split(mp.pi / 2, 2)))
    print("1 / 3", *(x.hex() for x in split(mpf(1) / 3, 2)))
    print("ln(2 pi) / 2", *(x.hex() for x in split(mp.log(2 * mp.pi) / 2, 2)))
    print("2 / sqrt(pi) - 1", float(2 / mp.sqrt(mp.pi) - 1).hex())
    for n in range(1, 18):
        print("  2 / sqrt(pi) * (-1)^n / (n! (2n + 1)), n =", n,
              float(2 / mp.sqrt(mp.pi) * (-1) ** n / (mp.factorial(n) * (2 * n + 1))).hex())
    print("the first of them and 3/8", float(mpf(3) / 8 - 2 / mp.sqrt(mp.pi) / 3).hex())
    found, worst = scaled_erfc()
    print("exp(x^2) erfc(x): error 2^%.1f" % float(mp.log(worst, 2)), *(x.hex() for x in found), sep="\n  ")
    mp.prec = 1400
    bits = int(mp.floor(2 / mp.pi * mpf(2) ** 1248))
    print("2 / pi, 39 words of 32 bits:", ", ".join(f"0x{bits >> (1248 - 32 * (i + 1)) & 0xFFFFFFFF:08X}" for i in range(39)))


if __name__ == "__main__":
    {"table": table, "constants": constants}[sys.argv[1]]()
