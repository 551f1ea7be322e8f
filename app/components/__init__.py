"""What the pages are built of: the address of the page, its language, verdicts, answers, figures and empty states."""
