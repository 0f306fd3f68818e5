"""The chaos suite: break one part of the running system, then count every record. ``make chaos`` runs it.

Its parts:

- ``scenarios/``: one file for each scenario, found by its name ``sNN_*.py``. Each has one ``Scenario`` that says what
  is broken, at full size for ``make chaos`` and at small size for ``make test`` (``tests/e2e/test_chaos.py``).
- ``rig.py``: the interface of a scenario. It has the whole system (``stream.local.stack``) and the methods to break it
  (kill, restart, suspend, add a worker, restart the broker), a ``load`` of webhooks, and the times of failures and
  repairs.
- ``load.py``: posts webhooks as the CRM does, again until they are answered 200, and records what was answered.
- ``reader.py``: reads the evidence: topics, commits, ledger, the CRM's own records. ``evidence.py`` has its classes.
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
            with rig.breaking("database killed"):   # records the time of the repair, for the recovery time
                ...
            load.wait()

When ``play`` returns, the runner waits until every webhook has its end, and verifies. A scenario states a further
promise with ``rig.promise(condition, "what is broken otherwise")`` and a figure of its own with
``rig.note("RSS slope", "0.1 MB a minute")``. Between steps ``rig.look()`` checks the commits against the events: call
it wherever a commit could be too far. Randomness comes from ``rig.chance``, which is seeded.
"""
