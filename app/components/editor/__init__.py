"""The parts of the rule editor that the browser reads; ``rule_editor`` gives them to Streamlit."""
