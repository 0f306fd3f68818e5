-- Our own tables, in a schema of our own.
-- depends: 0001_core

-- migrate: apply

SET LOCAL lock_timeout = '5s';

CREATE SCHEMA IF NOT EXISTS stream;

CREATE TABLE IF NOT EXISTS stream.answers (
    alias text PRIMARY KEY,
    candidates jsonb NOT NULL,
    asked_at timestamptz NOT NULL
);

COMMENT ON TABLE stream.answers IS 'What Diretrix answered for one alias, best first; [] when it was not known. Paid for once.';

CREATE TABLE IF NOT EXISTS stream.paid_calls (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    provider text NOT NULL,
    kind text NOT NULL,
    alias text NOT NULL,
    event_id uuid NOT NULL,
    source text NOT NULL,
    day date NOT NULL,
    price numeric NOT NULL,
    status text NOT NULL DEFAULT 'reserved' CHECK (status IN ('reserved', 'paid', 'free', 'unsure')),
    reserved_at timestamptz NOT NULL,
    settled_at timestamptz
);

COMMENT ON COLUMN stream.paid_calls.day IS 'Day of America/Sao_Paulo, as on the invoice.';

COMMENT ON COLUMN stream.paid_calls.status IS 'reserved: under way, or the worker died in it: counts as unsure in reports.';

CREATE INDEX IF NOT EXISTS paid_calls_day_idx ON stream.paid_calls (day, provider);

CREATE TABLE IF NOT EXISTS stream.budgets (
    provider text NOT NULL,
    day date NOT NULL,
    calls int NOT NULL,
    PRIMARY KEY (provider, day)
);

CREATE TABLE IF NOT EXISTS stream.leases (
    cpf text PRIMARY KEY,
    until timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS stream.crm_leads (
    source text NOT NULL,
    lead_id text NOT NULL,
    c2s_id text,
    status text NOT NULL CHECK (status IN ('claimed', 'created', 'unconfirmed', 'refused')),
    claimed_at timestamptz NOT NULL DEFAULT now(),
    confirmed_at timestamptz,
    PRIMARY KEY (source, lead_id)
);

CREATE INDEX IF NOT EXISTS crm_leads_c2s_id_idx ON stream.crm_leads (c2s_id);

CREATE TABLE IF NOT EXISTS stream.crm_deliveries (
    c2s_id text NOT NULL,
    facts text NOT NULL,
    event_id uuid NOT NULL,
    status text NOT NULL CHECK (status IN ('claimed', 'confirmed', 'unconfirmed', 'refused')),
    reason text,
    claimed_at timestamptz NOT NULL DEFAULT now(),
    confirmed_at timestamptz,
    PRIMARY KEY (c2s_id, facts)
);

CREATE INDEX IF NOT EXISTS crm_deliveries_unconfirmed_idx ON stream.crm_deliveries (claimed_at)
WHERE status IN ('claimed', 'unconfirmed');

CREATE TABLE IF NOT EXISTS stream.answered (
    event_id uuid PRIMARY KEY,
    day date NOT NULL,
    source text NOT NULL,
    lead_id text NOT NULL,
    contact_key text NOT NULL,
    outcome text NOT NULL,
    tier text,
    diretrix_calls int NOT NULL,
    work_calls int NOT NULL,
    received_at timestamptz NOT NULL,
    emitted_at timestamptz NOT NULL
);

COMMENT ON TABLE stream.answered IS 'One row a webhook, kept by the journal: what reports count.';

CREATE INDEX IF NOT EXISTS answered_day_idx ON stream.answered (day);

-- migrate: rollback
