"""From probabilities to what to do, with a guarantee.

values      what an answer is worth once the truth is known
expected    the answer with the highest expected value
measuring   what decisions were worth on labelled rows, against an oracle and against independent parts
conformal   the confidence below which a person decides, with a guarantee
escalation  rows that are unlike the training rows, or answers that can't be
policy      all of it as one file, and its use
returns     trials that a ranking saves until enough successes are found, and a stage gate
"""
