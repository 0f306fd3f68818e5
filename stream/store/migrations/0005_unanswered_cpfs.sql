-- CPFs for which the Work API was asked in vain: the same question tomorrow costs a call and brings no more.
-- depends: 0003_enriched_at

-- migrate: apply

SET LOCAL lock_timeout = '5s';

CREATE TABLE IF NOT EXISTS stream.unanswered_cpfs (
    cpf text PRIMARY KEY,
    reason text NOT NULL CHECK (reason IN ('unknown', 'mismatch')),
    until timestamptz NOT NULL
);

COMMENT ON COLUMN stream.unanswered_cpfs.reason IS 'mismatch: the Work API answered with another person''s record.';

-- migrate: rollback
