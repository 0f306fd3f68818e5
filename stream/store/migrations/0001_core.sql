-- What production already has; on an empty database it is made, elsewhere nothing is touched.
-- depends:

-- migrate: apply

SET LOCAL lock_timeout = '5s';

CREATE SCHEMA IF NOT EXISTS core;

DO $$
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE n.nspname = 'core' AND t.typname = 'contact_type_enum'
    ) THEN
        CREATE TYPE core.contact_type_enum AS ENUM ('email', 'phone', 'whatsapp');
    END IF;
END
$$;

CREATE TABLE IF NOT EXISTS core.parties (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    party_type text,
    cpf_cnpj text,
    full_name text,
    normalized_name text,
    sex char(1),
    birth_date date,
    mother_name text,
    enriched bool DEFAULT false,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now()
);

CREATE TABLE IF NOT EXISTS core.party_contacts (
    contact_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    party_id uuid NOT NULL REFERENCES core.parties (id),
    contact_type core.contact_type_enum NOT NULL,
    value text NOT NULL,
    is_primary bool DEFAULT false,
    is_verified bool DEFAULT false,
    is_whatsapp bool DEFAULT false,
    source text,
    confidence numeric,
    valid_from timestamptz,
    valid_to timestamptz,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now(),
    UNIQUE (party_id, contact_type, value)
);

CREATE TABLE IF NOT EXISTS core.party_enrichments (
    enrichment_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    party_id uuid NOT NULL UNIQUE REFERENCES core.parties (id),
    provider text,
    raw_payload jsonb,
    normalized_data jsonb,
    quality_score numeric,
    enriched_at timestamptz,
    created_at timestamptz DEFAULT now()
);

CREATE TABLE IF NOT EXISTS public.webhook_events (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    lead_id text NOT NULL,
    updated_at timestamptz NOT NULL,
    hook_action text,
    payload_raw jsonb,
    received_at timestamptz DEFAULT now(),
    processed_at timestamptz,
    status text NOT NULL DEFAULT 'received',
    error_message text,
    created_at timestamptz DEFAULT now(),
    updated_at_ts timestamptz DEFAULT now(),
    UNIQUE (lead_id, updated_at)
);

-- Production has both under names of its own: only a table without any index on the column gets ours.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = 'core.party_contacts'::regclass AND a.attname = 'value'
    ) AND NOT EXISTS (SELECT 1 FROM core.party_contacts) THEN
        CREATE INDEX party_contacts_value_idx ON core.party_contacts (value);
    END IF;
    IF NOT EXISTS (
        SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = 'core.parties'::regclass AND a.attname = 'cpf_cnpj'
    ) AND NOT EXISTS (SELECT 1 FROM core.parties) THEN
        CREATE INDEX parties_cpf_cnpj_idx ON core.parties (cpf_cnpj);
    END IF;
END
$$;

-- migrate: rollback
