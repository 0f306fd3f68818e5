-- "Enrichments of the last 24 hours" would read the whole table; built without locking out writers.
-- depends: 0002_stream
-- transaction: false

-- migrate: apply

CREATE INDEX CONCURRENTLY IF NOT EXISTS party_enrichments_enriched_at_idx ON core.party_enrichments (enriched_at);

-- migrate: rollback
