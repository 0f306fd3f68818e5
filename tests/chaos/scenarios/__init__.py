"""One file for each scenario: ``sNN_name.py`` with a class ``Scenario``."""
