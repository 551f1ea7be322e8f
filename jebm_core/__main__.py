"""``python -m jebm_core`` is the command ``jebm``."""

from jebm_core.cli import main

raise SystemExit(main())
