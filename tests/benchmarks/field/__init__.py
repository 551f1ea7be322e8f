"""The field: other people's methods and ours, measured on the same rows under the same decision rules.

``data`` reads, ``decisions`` and ``distributions`` answer and score, ``measuring`` runs one method, ``verdicts``
compares two row by row; every other module is one family of methods. A method is a function ``fit(train, seed)`` that
gets training rows alone and returns a function of the test rows' features.
"""
