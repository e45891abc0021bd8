"""How much of alpha each of a sequence of tests may spend, so that all of them together err no more often than it."""

from __future__ import annotations


def alpha_of(number: int, total: float) -> float:
    """What the test of that number, counted from 1, may spend: ``total / (number (number + 1))``.

    Alpha-spending (Foster, Stine: Alpha-investing, J. R. Stat. Soc. B 70, 2008; Tian, Ramdas: Online control of the
    familywise error rate, Stat. Methods Med. Res. 30, 2021). The shares of any number of tests add up to less than
    ``total``, so the chance of even one error is below that (Bonferroni), however the tests depend on each other: here
    the same rows judge all of them. ``total / (number + 1)`` is left after that test.
    """
    return total / (number * (number + 1))
