"""Read and check the files that people bring: cells, roles of columns, outputs, features.

>>> table = read_table("t.csv", content=b"x_a,y_b,y_c\\n0.5,1,0\\n1.5,0,1\\n")
>>> examples = read_examples(table, guess_roles(table))
>>> examples.outputs.values.tolist()
[[1, 0], [0, 1]]
>>> FeatureEncoder.fit(table.frame, examples.roles.features).transform(table).tolist()
[[-1.0], [1.0]]
"""

from jebm_core.tables.examples import Examples, read_examples, require_fit_size
from jebm_core.tables.features import FeatureEncoder
from jebm_core.tables.outputs import Outputs, OutputSchema, read_outputs
from jebm_core.tables.reading import read_table
from jebm_core.tables.records import Note, Table
from jebm_core.tables.roles import Kind, Roles, guess_roles

__all__ = [
    "Examples",
    "FeatureEncoder",
    "Kind",
    "Note",
    "OutputSchema",
    "Outputs",
    "Roles",
    "Table",
    "guess_roles",
    "read_examples",
    "read_outputs",
    "read_table",
    "require_fit_size",
]
