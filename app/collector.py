"""Keep the collector of garbage from what stays for good.

The framework collects garbage whenever a page or a part of one has been drawn, which costs in proportion to all that is
alive: modules, classes and functions of the libraries, nearly all of it, a tenth of a second each time.
"""

import gc
import sys
import threading

_MANY = 20
"""New modules since the last time that are worth a collection of their own."""
_known = 0
_settling = threading.Lock()


def settle() -> None:
    """Take what is alive now out of all later collections, if a page has loaded many modules since the last time.

    What is taken out and gets lost in a cycle later on stays in memory: what a few sessions hold, a few times in the
    life of a server.
    """
    global _known
    if len(sys.modules) < _known + _MANY or not _settling.acquire(blocking=False):
        return
    try:
        _known = len(sys.modules)
        gc.collect()
        gc.freeze()
    finally:
        _settling.release()
