"""The dashboard: pages, the components they share, the charts they draw and the words they speak.

Nothing here computes a number that a decision rests on; ``jebm_core`` does, and the pages show it.
"""
