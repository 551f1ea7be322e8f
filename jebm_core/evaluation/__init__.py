"""How good a fitted model is: one question a module, none of which needs another."""
