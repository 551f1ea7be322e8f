"""Text from files, made harmless where Markdown is read."""


def escape(text: str) -> str:
    r"""Return text with the marks of Markdown made harmless: column names and cell values come from strangers.

    >>> escape("a_b $x$ [c](d)")
    'a\\_b \\$x\\$ \\[c\\](d)'
    """
    for mark in "\\`*_$[]~<>#|:":
        text = text.replace(mark, "\\" + mark)
    return text
