"""``python -m app.text``: bring the catalogue up to date and name what still needs a Japanese sentence."""

import sys

from app.text.extract import refresh

missing = refresh()
for text in missing:
    sys.stdout.write(f"untranslated: {text}\n")
sys.exit(1 if missing else 0)
