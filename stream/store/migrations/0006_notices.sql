-- Notices, shares of the budget, leases that end with their holder, calls of dead workers; built without locking out writers.
-- depends: 0005_unanswered_cpfs
-- transaction: false

-- migrate: apply

SET lock_timeout = '5s';

CREATE TABLE IF NOT EXISTS stream.notices (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    kind text NOT NULL,
    key text NOT NULL,
    day date NOT NULL,
    text text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (kind, key)
);

COMMENT ON TABLE stream.notices IS 'What an operator must know, each said once: the key makes it so over all processes and restarts.';

CREATE TABLE IF NOT EXISTS stream.sources_seen (
    source text PRIMARY KEY,
    day date NOT NULL
);

COMMENT ON TABLE stream.sources_seen IS 'The last day (America/Sao_Paulo) on which a source sent something: half of the budget is shared by those of a week.';

ALTER TABLE stream.budgets ADD COLUMN IF NOT EXISTS by_source jsonb NOT NULL DEFAULT '{}';

COMMENT ON COLUMN stream.budgets.by_source IS 'The calls of each source; in the row itself, so that the lock that counts a call also holds the shares.';

ALTER TABLE stream.leases ADD COLUMN IF NOT EXISTS holder uuid;

COMMENT ON COLUMN stream.leases.holder IS 'The process that renews it; a lease ends soon after its holder.';

RESET lock_timeout;

CREATE INDEX CONCURRENTLY IF NOT EXISTS paid_calls_reserved_idx ON stream.paid_calls (event_id) WHERE status = 'reserved';

-- migrate: rollback
