# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers on the command lines of the lab's programs, as argparse's types."""

import argparse


def number(low, high):
    """A whole number within these bounds."""
    def check(text):
        if not text.isdigit() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(
                f'{text!r} is not a number from {low} to {high}')
        return int(text)
    return check


def count(what):
    """How many of something there are to be: one at least."""
    def check(text):
        if not text.isdigit() or int(text) < 1:
            raise argparse.ArgumentTypeError(
                f'{text!r} is not a number of {what}')
        return int(text)
    return check
