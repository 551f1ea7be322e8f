"""``python -m jebm_core`` is the command ``jebm``."""

from jebm_core.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
