"""Three sample projects whose true distribution is known, so that every estimate can be held against the truth.

``python -m sample_data.make`` writes every file here again, byte for byte; ``load_truth`` answers with exact
probabilities.
"""
