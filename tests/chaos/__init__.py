"""The chaos suite: break one part of the running system, then count every record. ``make chaos`` runs it.

How it is made:

- ``scenarios/``: one file a scenario, found by its name ``sNN_*.py``. Each has one ``Scenario`` that says what is
  broken, at full size for ``make chaos`` and at small size for ``make test`` (``tests/e2e/test_chaos.py``).
- ``rig.py``: what a scenario is handed. The whole system (``stream.local.stack``) and the verbs to break it: kill,
  restart, suspend, add a worker, bounce the broker; a ``load`` of webhooks; notes of when what was broken and mended.
- ``load.py``: posts webhooks as the CRM does, again until it is answered 200, and keeps what was answered.
- ``reader.py``: reads what happened: topics, commits, ledger, the CRM's own records. ``evidence.py``: its words.
- ``verifier.py``: counts; pure, tested in ``tests/unit/test_chaos_verifier.py``. ``report.py``: promises and figures.

To add a scenario: a new file ``scenarios/sNN_name.py`` after the model of ``s01_worker_killed.py``::

    class Scenario(scenario.Scenario):
        '''One sentence: what is broken.'''

        number, name = 4, "database away"
        full = {"webhooks": 5_000, "away": 60}
        small = {"webhooks": 300, "away": 5}       # {} when it does not run in make test
        environment = {"RETRY_DELAYS": "1s"}         # settings of our processes

        def play(self, rig: Rig, webhooks: int, away: int) -> None:
            load = rig.load(webhooks, per_second=50)
            with rig.breaking("database killed"):   # notes when it was mended, for the recovery time
                ...
            load.wait()

``play`` ends when it has broken enough: the runner then waits until every webhook has its end, and verifies. What a
scenario promises beyond that it says with ``rig.promise(condition, "what is broken otherwise")``; a figure of its
own with ``rig.note("RSS slope", "0.1 MB a minute")``. Between steps ``rig.look()`` holds the commits against the
events: call it wherever a commit could be too far. Randomness comes from ``rig.chance``, which is seeded.
"""
