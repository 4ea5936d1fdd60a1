"""Factors to SI. Files carry the unit in the key; inside, everything is SI."""

KIB = 2**10
MIB = 2**20
GIB = 2**30
GB = 1e9
MB = 1e6
GFLOP = 1e9
TFLOP = 1e12
MS = 1e-3
US = 1e-6
NS = 1e-9
PICO = 1e-12


def plain(value: float, digits: int = 4) -> str:
    """A number in words of an answer: so many significant digits, never an exponent.

    Examples
    --------
    >>> plain(11_563.2), plain(1058.21), plain(0.51234), plain(1_234_567.0)
    ('11,560', '1058', '0.5123', '1,235,000')
    """
    rounded = f"{value:.{digits}g}"
    return rounded if abs(value) < 10.0**digits and "e" not in rounded else f"{float(rounded):,.0f}"
