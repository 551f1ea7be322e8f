"""One file a step; a step that people's databases have taken never changes."""
