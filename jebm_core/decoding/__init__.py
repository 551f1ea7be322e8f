"""From weighted draws of p(y|x) to one answer per row, by what the answer is for.

    decode_map      the probability of being exactly right
    decode_f1       F1 between subsets
    decode_hamming  the share of items that are right
    decode_kendall  Kendall's τ between rankings
    decode_table    a utility of the user

The best answer depends on the purpose: the most probable combination can be a poor one under F1.
"""

from jebm_core.decoding.candidates import Utility, decode_map, decode_table
from jebm_core.decoding.draws import Decoded
from jebm_core.decoding.f1 import decode_f1
from jebm_core.decoding.hamming import decode_hamming
from jebm_core.decoding.kendall import decode_kendall
from jebm_core.decoding.utilities import require_utility

__all__ = [
    "Decoded",
    "Utility",
    "decode_f1",
    "decode_hamming",
    "decode_kendall",
    "decode_map",
    "decode_table",
    "require_utility",
]
