"""One file a scenario: ``sNN_name.py`` with a class ``Scenario``."""
