"""The pages of the dashboard; each file is a script that the router runs, listed in ``app.pages``."""
