# SPDX-License-Identifier: GPL-2.0-or-later
"""What README.md has for its readers to paste."""

import os
import re

README = os.path.join(os.path.dirname(__file__), '../../README.md')


def section(title):
    with open(README, encoding='utf-8') as f:
        text = f.read()
    return re.search(rf'^## {title}\n(.*?)(?=^## |\Z)', text,
                     re.MULTILINE | re.DOTALL)[1]


def blocks(title):
    """The blocks of a section, each without its indentation."""
    return [re.sub('^ {4}', '', b, flags=re.MULTILINE).strip('\n')
            for b in re.findall(r'(?:^ {4}.*\n|^\n(?= {4}))+', section(title),
                                re.MULTILINE) if b.strip()]


def inline(title):
    """What is set as code in its sentences"""
    return re.findall(r'`([^`]+)`', section(title).replace('\n', ' '))


def used(line, changes):
    """A line with what is other where it is run; each change must be made."""
    for old, new in changes:
        if old not in line:
            raise ValueError(f'README.md: {old!r} is not in {line!r}')
        line = line.replace(old, new)
    return line
