"""The pages of the dashboard in the order of the menu. Their files are in ``views``.

That folder isn't called ``pages``: beside the main script, a folder of that name makes the framework build a menu of
its own and show the first page that is asked for without its frame.
"""

from dataclasses import dataclass

from app.text import marked


@dataclass(frozen=True)
class PageEntry:
    """One page: its file, its title (a message id) and its icon."""

    file: str
    title: str
    icon: str


PAGES = (
    PageEntry("views/overview.py", marked("Overview"), ":material/home:"),
    PageEntry("views/data.py", marked("Data"), ":material/table_chart:"),
    PageEntry("views/generator.py", marked("Candidate generator"), ":material/rule:"),
    PageEntry("views/train.py", marked("Train"), ":material/model_training:"),
    PageEntry("views/runs.py", marked("Compare"), ":material/balance:"),
    PageEntry("views/partition.py", marked("Partition function"), ":material/functions:"),
    PageEntry("views/calibration.py", marked("Calibration"), ":material/straighten:"),
    PageEntry("views/unseen.py", marked("Unseen combinations"), ":material/explore:"),
    PageEntry("views/decisions.py", marked("Decisions"), ":material/rule_settings:"),
    PageEntry("views/report.py", marked("Report"), ":material/description:"),
    PageEntry("views/glossary.py", marked("Glossary"), ":material/menu_book:"),
)
